"""One training step (forward and backward, dropout on) of the TUPE-R encoder against three others.

    python benchmarks/bench_encoder.py > benchmarks/results/encoder_<hardware>_<date>.md

ours      TUPE-R as the package runs it: one (heads, query, key) bias for the whole batch
copied    TUPE-R in the authors' way: the bias copied for each sentence, bmm, softmax, bmm
padded    ours with --unpad never: the whole encoder computes the padding, too
bert-a    the package's encoder with BERT-A positions: no bias at all

The four take turns in one process, so that a busy machine slows all of them alike; each round
gives one ratio, and the smallest, middle and largest ratio of all rounds are told.  Peak memory on
a CPU is that of a process of its own.  A ratio above 1 is in favour of ours.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout, too

from benchmarks.copied_bias import forward_with_copied_bias  # noqa: E402
from benchmarks.measurement import (  # noqa: E402
    DTYPES,
    add_device_and_clock,
    add_padding,
    commit,
    device_name,
    rounds,
    status_mebibytes,
)
from tupe_plugin.core.encoder import TupeEncoder  # noqa: E402
from tupe_plugin.core.initialization import init_bert_params  # noqa: E402
from tupe_plugin.core.position_scheme import POSITION_SCHEMES  # noqa: E402

VOCAB, PAD = 30_000, 1
EMBED, FFN, HEADS = 768, 3072, 12  # tupe_base


# ---- what is compared


def _ours(encoder: TupeEncoder, tokens: Tensor) -> Tensor:
    return encoder(tokens)[-1]


def _padded(encoder: TupeEncoder, tokens: Tensor) -> Tensor:
    encoder.unpad = False
    return encoder(tokens)[-1]


#: name -> (position scheme, forward)
VARIANTS: dict[str, tuple[str, Callable[[TupeEncoder, Tensor], Tensor]]] = {
    "ours": ("tupe-r", _ours),
    "copied": ("tupe-r", forward_with_copied_bias),
    "padded": ("tupe-r", _padded),
    "bert-a": ("bert-a", _ours),
}


def build_encoder(scheme: str, *, layers: int, length: int) -> TupeEncoder:
    """An encoder as wide as ``tupe_base``, in training mode."""
    torch.manual_seed(1)
    encoder = TupeEncoder(
        VOCAB,
        PAD,
        num_layers=layers,
        embed_dim=EMBED,
        ffn_embed_dim=FFN,
        num_heads=HEADS,
        max_positions=max(length, 512),
        scheme=POSITION_SCHEMES[scheme],
        dropout=0.1,
        attention_dropout=0.1,
    )
    return encoder.apply(init_bert_params).train()


def make_batch(batch_size: int, length: int, padding: float) -> Tensor:
    """Random tokens ``(batch, seq)``; lengths fall evenly, the share ``padding`` is padding."""
    tokens = torch.randint(4, VOCAB, (batch_size, length))
    pad_evenly(tokens, padding)
    return tokens


def pad_evenly(tokens: Tensor, padding: float) -> None:
    """Turn the ends of sentences ``(batch, seq)`` into padding, of each more than of the last."""
    batch_size, length = tokens.shape
    for row, sentence in enumerate(tokens):
        shortening = 2 * padding * row / max(1, batch_size - 1)
        sentence[max(1, round(length * (1 - shortening))) :] = PAD


def make_steps(names: list[str], length: int, args: argparse.Namespace) -> dict[str, Callable]:
    """For each variant a function that makes one training step."""
    tokens = make_batch(args.batch_size, length, args.padding).to(args.device)

    def step_of(name: str) -> Callable[[], None]:
        scheme, forward = VARIANTS[name]
        encoder = build_encoder(scheme, layers=args.layers, length=length)
        encoder.to(args.device, DTYPES[args.dtype])

        def step() -> None:
            forward(encoder, tokens).float().square().mean().backward()
            encoder.zero_grad(set_to_none=True)

        return step

    return {name: step_of(name) for name in names}


# ---- measuring


def peak_mebibytes(name: str, length: int, args: argparse.Namespace) -> float | None:
    """Peak memory of a step beyond what lay there before it; None where it cannot be told."""
    if args.device == "cuda":
        step = make_steps([name], length, args)[name]
        step()  # the first one also fills the libraries' workspaces
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if not Path("/proc/self/status").exists():
        return None
    options = ["--measure-memory-of", name, "--lengths", length]
    for option in ("device", "dtype", "batch_size", "layers", "padding"):
        options += ["--" + option.replace("_", "-"), getattr(args, option)]
    command = [sys.executable, __file__, *map(str, options)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout))


def own_peak_mebibytes(step: Callable[[], None]) -> float:
    """The same in this process, which must be fresh: its peak so far is what it holds now."""
    before = status_mebibytes("VmHWM")
    for _ in range(2):
        step()
    return status_mebibytes("VmHWM") - before


# ---- telling


def print_heading(args: argparse.Namespace) -> None:
    print("# One training step of the encoder: TUPE-R against its alternatives\n")
    print(f"- hardware: {device_name(args.device)}; torch {torch.__version__}, {args.dtype}")
    print(f"- date {datetime.date.today()}, commit {commit('tupe_plugin', 'benchmarks')}, seed 1")
    print(
        f"- encoder of tupe_base's width ({EMBED}, {HEADS} heads), {args.layers} layers; batch "
        f"{args.batch_size}, {args.padding:.0%} padding; dropout and attention dropout 0.1"
    )
    clock = "CPU time of the process" if args.cpu_time else "wall-clock time"
    print(f"- {args.repeats} rounds in turns, {clock}; a ratio above 1 is in favour of ours\n")
    print("| T | against | their s / our s: min | median | max | their peak MiB / ours | ratio |")
    print("|--:|---|--:|--:|--:|--:|--:|", flush=True)


def print_rows(length: int, times: list[dict[str, float]], peaks: dict[str, float | None]) -> None:
    medians = {name: statistics.median(t[name] for t in times) for name in times[0]}
    for other in (name for name in VARIANTS if name != "ours"):
        ratios = [t[other] / t["ours"] for t in times]
        theirs, ours = peaks[other], peaks["ours"]
        memory = (
            "- | -"
            if not theirs or not ours
            else f"{theirs:.0f} / {ours:.0f} | {theirs / ours:.2f}"
        )
        against = f"{other} ({medians[other]:.3f} / {medians['ours']:.3f})"
        spread = f"{min(ratios):.2f} | {statistics.median(ratios):.2f} | {max(ratios):.2f}"
        print(f"| {length} | {against} | {spread} | {memory} |", flush=True)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_device_and_clock(parser)
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the whole encoder")
    parser.add_argument("--batch-size", type=int, help="sentences (default: 2; 32 on a GPU)")
    parser.add_argument("--layers", type=int, default=12, help="default: %(default)s")
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 512], metavar="T")
    parser.add_argument("--repeats", type=int, help="rounds (default: 5; 20 on a GPU)")
    add_padding(parser)
    parser.add_argument("--measure-memory-of", choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    on_gpu = args.device == "cuda"
    args.batch_size = args.batch_size or (32 if on_gpu else 2)
    args.repeats = args.repeats or (20 if on_gpu else 5)
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.measure_memory_of:
        step = make_steps([args.measure_memory_of], args.lengths[0], args)[args.measure_memory_of]
        print(json.dumps(own_peak_mebibytes(step)))
        return 0
    print_heading(args)
    for length in args.lengths:
        print(f"T = {length}: memory ...", file=sys.stderr)
        peaks = {name: peak_mebibytes(name, length, args) for name in VARIANTS}
        steps = make_steps(list(VARIANTS), length, args)
        times = []
        for times_of_round in rounds(steps, args):
            times.append(times_of_round)
            told = ", ".join(f"{name} {t:.2f} s" for name, t in times_of_round.items())
            print(f"T = {length}, round {len(times)} of {args.repeats}: {told}", file=sys.stderr)
        print_rows(length, times, peaks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
