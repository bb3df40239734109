"""One training step of a masked-LM by what computes its attention: speed, memory, use of the card.

    python benchmarks/bench_attention.py > benchmarks/results/attention_<hardware>_<date>.md

sdpa, explicit, triton ...  TUPE-R by `--attention-backend`, one bias for the whole batch
bert-a                      the package's encoder with BERT-A positions: no bias, so flash attention
authors                     TUPE-R with the bias copied for each sentence, bmm, softmax, bmm
BertForMaskedLM             that of Hugging Face's transformers, as people call it (sdpa)

A step is the forward pass, the loss of the masked tokens, and the backward pass, dropout on. Ours
apply the head to the masked tokens alone; `BertForMaskedLM` applies it to all. All take turns in
one process, and each round gives one ratio to `sdpa`; a ratio above 1 is slower. The share of the
card is that of what plain matrix products of 8192 x 8192 reach in the same type, counting the
products of encoder and head, three times for a step. A backend without dropout runs without.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout, too

from benchmarks.bench_encoder import PAD, make_batch  # noqa: E402
from benchmarks.copied_bias import forward_with_copied_bias  # noqa: E402
from benchmarks.measurement import (  # noqa: E402
    DTYPES,
    add_device_and_clock,
    add_padding,
    commit,
    device_name,
    rounds,
    seconds,
)
from tupe_plugin.core.attention_backends import BACKENDS, attention_backend  # noqa: E402
from tupe_plugin.core.encoder import TupeEncoder  # noqa: E402
from tupe_plugin.core.heads import MaskedLMHead  # noqa: E402
from tupe_plugin.core.position_scheme import POSITION_SCHEMES  # noqa: E402

MASKED = 0.15  # share of the tokens that are predicted
DROPOUT = 0.1
WITHOUT_DROPOUT = {"flex"}
BASELINE, BERT, AUTHORS, HUGGING_FACE = "sdpa", "bert-a", "authors", "BertForMaskedLM"
VARIANTS = [*BACKENDS, BERT, AUTHORS, HUGGING_FACE]


class Sizes(NamedTuple):
    """Of the model."""

    layers: int
    width: int
    vocab: int

    @property
    def heads(self) -> int:
        return max(1, self.width // 64)

    def products(self, tokens: int, length: int) -> float:
        """Floating-point operations of a step: of its matrix products, by backward three times."""
        layer = 2 * 12 * self.width**2 + 4 * length * self.width  # 4 d d + 8 d d, and Q K^T, W V
        head = 2 * MASKED * (self.width**2 + self.width * self.vocab)
        return 3.0 * tokens * (self.layers * layer + head)


class MaskedLM(nn.Module):
    """Encoder and head; gives the loss of the masked tokens."""

    def __init__(self, sizes: Sizes, length: int, *, scheme: str, backend: str) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.encoder = TupeEncoder(
            sizes.vocab,
            PAD,
            num_layers=sizes.layers,
            embed_dim=sizes.width,
            ffn_embed_dim=4 * sizes.width,
            num_heads=sizes.heads,
            max_positions=length,
            scheme=POSITION_SCHEMES[scheme],
            dropout=DROPOUT,
            attention_dropout=0.0 if backend in WITHOUT_DROPOUT else DROPOUT,
            attention=attention_backend(backend),
            unpad=False,  # all ways that are compared compute the padding
        )
        self.head = MaskedLMHead(self.encoder.embed_tokens.weight)
        self.features: Callable[[TupeEncoder, Tensor], Tensor] = lambda encoder, x: encoder(x)[-1]

    def forward(self, tokens: Tensor, masked: Tensor) -> Tensor:
        logits = self.head(self.features(self.encoder, tokens), masked)
        return F.cross_entropy(logits.float(), tokens[masked])


def model_of(name: str, sizes: Sizes, length: int) -> nn.Module:
    """Of `VARIANTS`, in training mode; its forward gives the loss."""
    if name == HUGGING_FACE:
        return _hugging_face(sizes, length).train()
    if name in BACKENDS:
        return MaskedLM(sizes, length, scheme="tupe-r", backend=name).train()
    scheme = "bert-a" if name == BERT else "tupe-r"
    model = MaskedLM(sizes, length, scheme=scheme, backend=BASELINE)
    if name == AUTHORS:
        model.features = forward_with_copied_bias
    return model.train()


def _hugging_face(sizes: Sizes, length: int) -> nn.Module:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=sizes.vocab,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=4 * sizes.width,
        max_position_embeddings=length,
        hidden_dropout_prob=DROPOUT,
        attention_probs_dropout_prob=DROPOUT,
        pad_token_id=PAD,
        attn_implementation="sdpa",
    )
    model = BertForMaskedLM(config)

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: Tensor, masked: Tensor) -> Tensor:
            labels = tokens.masked_fill(~masked, -100)
            loss: Tensor = model(tokens, attention_mask=tokens.ne(PAD), labels=labels).loss
            return loss

    return Loss()


def step_of(model: nn.Module, tokens: Tensor) -> Callable[[], None]:
    """One training step, gradients dropped at its end."""
    draw = torch.Generator().manual_seed(2)
    masked = torch.rand(tokens.shape, generator=draw).lt(MASKED).to(tokens.device)
    masked &= tokens.ne(PAD)
    masked[:, 0] = True  # of each sentence one at least

    def step() -> None:
        model(tokens, masked).backward()
        model.zero_grad(set_to_none=True)

    return step


def matrix_rate(args: argparse.Namespace) -> float:
    """Floating-point operations a second of large matrix products."""
    size = 8192 if args.device == "cuda" else 512
    left, right = torch.randn(2, size, size, device=args.device).to(DTYPES[args.dtype])
    times = [seconds(lambda: left @ right, args) for _ in range(10)]
    return 2.0 * size**3 / min(times[2:])


def peak_bytes(step: Callable[[], None]) -> int:
    """On a GPU: of a step, beyond what lay there before it."""
    step()  # the first one also fills the libraries' workspaces
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated() - before


def rows(length: int, args: argparse.Namespace) -> Iterator[str]:
    """Of one length; what a variant refuses stands in its row."""
    sizes = Sizes(args.layers, args.width, args.vocab)
    torch.manual_seed(3)
    tokens = make_batch(args.batch_size, length, args.padding).remainder(sizes.vocab)
    tokens = tokens.masked_fill(tokens.lt(PAD), PAD + 3).to(args.device)
    count, rate = int(tokens.ne(PAD).sum()), matrix_rate(args)
    steps, peaks = {}, {}
    for name in args.variants:
        model = model_of(name, sizes, length).to(args.device, DTYPES[args.dtype])
        step = step_of(model, tokens)
        try:
            step()
        except (ImportError, ValueError, RuntimeError) as error:
            yield f"| {length} | {name} | {' '.join(str(error).split())[:120]} |" + " - |" * 6
            continue
        steps[name] = step
        peaks[name] = f"{peak_bytes(step) / 2**20:.0f}" if args.device == "cuda" else "-"
    times = list(rounds(steps, args))
    for name in steps:
        own = [one[name] for one in times]
        ratios = [one[name] / one[BASELINE] for one in times]
        median = statistics.median(own)
        share = sizes.products(tokens.numel(), length) / median / rate
        spread = " | ".join(f"{f(ratios):.2f}" for f in (min, statistics.median, max))
        remark = " (no attention dropout)" if name in WITHOUT_DROPOUT else ""
        yield (
            f"| {length} | {name}{remark} | {1000 * median:.1f} | {count / median:,.0f} "
            f"| {spread} | {peaks[name]} | {share:.0%} |"
        )


def report(args: argparse.Namespace) -> Iterator[str]:
    clock = "CPU time of the process" if args.cpu_time else "wall-clock time"
    yield "# One training step of a masked-LM by what computes its attention\n"
    yield f"- hardware: {device_name(args.device)}; torch {torch.__version__}, {args.dtype}"
    yield f"- date {datetime.date.today()}, commit {commit('tupe_plugin', 'benchmarks')}, seeds 1-3"
    yield (
        f"- {args.layers} layers x {args.width}, {args.vocab:,} symbols; batch {args.batch_size}, "
        f"{args.padding:.0%} padding, {MASKED:.0%} masked; dropout {DROPOUT}"
    )
    yield f"- {args.repeats} rounds in turns, {clock}; a ratio above 1 is slower than {BASELINE}\n"
    yield (
        "| T | attention | ms a step | tokens/s | its s / sdpa's: min | median | max "
        "| peak MiB | share of the matrix rate |"
    )
    yield "|--:|---|" + "--:|" * 7
    for length in args.lengths:
        yield from rows(length, args)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_device_and_clock(parser)
    number = partial(parser.add_argument, type=int)
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16" if on_gpu else "float32")
    number("--batch-size", default=32 if on_gpu else 4, help="default here: %(default)s")
    number("--layers", default=12, help="default: %(default)s")
    number("--width", default=768, help="default: %(default)s")
    number("--vocab", default=30_000, help="default: %(default)s")
    number("--lengths", nargs="+", default=[128, 512], metavar="T", help="default: 128 512")
    number("--repeats", default=20 if on_gpu else 3, help="rounds (default here: %(default)s)")
    add_padding(parser)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="NAME")
    args = parser.parse_args(argv)
    if BASELINE not in args.variants:
        parser.error(f"--variants: {BASELINE} has to be among them, for the ratios")
    return args


def main(argv: list[str] | None = None) -> int:
    for line in report(parse(argv)):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
