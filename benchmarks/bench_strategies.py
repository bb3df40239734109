"""One training step with R-Drop or adversarial noise over the plain step: time and peak memory.

    python benchmarks/bench_strategies.py > benchmarks/results/strategies_<hardware>_<date>.md

A step is what fairseq's trainer makes of it: the criterion, the backward, Adam.  All strategies
train the same model and take turns in one process, so that a busy machine slows all of them alike;
each round gives one ratio to the plain step.  Peak memory is that of weights, gradients, Adam's
state and activations, without Python and its libraries; on a CPU it is the high-water mark of a
process of its own, reset before each strategy.  A ratio above 1 is a cost.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout, too

import tupe_plugin  # noqa: E402
from benchmarks.bench_encoder import EMBED, FFN, HEADS, PAD, pad_evenly  # noqa: E402
from benchmarks.measurement import (  # noqa: E402
    DTYPES,
    add_device_and_clock,
    add_padding,
    commit,
    device_name,
    rounds,
    status_mebibytes,
)

tupe_plugin.use_with_fairseq()  # where the start-up hook is not installed

HEAD = "sentence_classification_head"

#: name -> options of --criterion adversarial; but for "plain" and "rdrop"
STRATEGIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "rdrop": {},
    "attention, weights": {"adv_method": "attention", "adv_site": "weights"},
    "attention, logits": {"adv_method": "attention", "adv_site": "logits"},
    "fgm": {"adv_method": "fgm"},
    "pgd, 3 steps": {"adv_method": "pgd"},
    "freelb, 3 steps": {"adv_method": "freelb"},
    "smart": {"adv_method": "smart"},
    "attention, weights + rdrop": {"adv_method": "attention", "rdrop_alpha": 1.0},
}
#: Memory over the plain step as Baidu reports it for wenxin (ERNIE 3.0 base, one GPU)
BAIDU = {"rdrop": 1.79, "attention, weights": 2.55}


# ---- what is compared


def make_task(vocab: int) -> Any:
    """What model and criterions ask of a task."""
    from fairseq.data import Dictionary

    words, labels = Dictionary(), Dictionary()
    for number in range(vocab - len(words)):
        words.add_symbol(f"w{number}")
    for label in "ab":
        labels.add_symbol(label)
    return types.SimpleNamespace(
        cfg=types.SimpleNamespace(num_classes=2, tokens_per_sample=None),
        source_dictionary=words,
        target_dictionary=words,
        label_dictionary=labels,
    )


def make_model(task: Any, args: argparse.Namespace) -> Any:
    """A TUPE-R as wide as ``tupe_base``, in training mode."""
    from tupe_plugin.models.tupe import TupeConfig, TupeModel

    torch.manual_seed(1)
    cfg = TupeConfig(
        encoder_layers=args.layers,
        encoder_embed_dim=EMBED,
        encoder_ffn_embed_dim=FFN,
        encoder_attention_heads=HEADS,
        rel_pos=True,
    )
    model = TupeModel.build_model(cfg, task)
    model.register_classification_head(HEAD, num_classes=2)
    return model.to(args.device, DTYPES[args.dtype]).train()


def make_criterion(name: str, task: Any, kind: str) -> Any:
    """The criterion of a strategy, for `sentence_prediction` or `masked_lm`."""
    from fairseq.criterions.masked_lm import MaskedLmConfig, MaskedLmLoss
    from fairseq.criterions.sentence_prediction import SentencePredictionConfig

    from tupe_plugin.criterions.adversarial import (
        AdversarialMaskedLM,
        AdversarialSentencePrediction,
    )
    from tupe_plugin.criterions.adversarial_options import AdversarialConfig
    from tupe_plugin.criterions.rdrop import RDropConfig, RDropCriterion
    from tupe_plugin.criterions.sentence_prediction import WholeSetSentencePredictionCriterion

    masked = kind == "masked_lm"
    if name == "plain" and masked:
        return MaskedLmLoss(MaskedLmConfig(tpu=False), task).train()
    if name == "plain":
        return WholeSetSentencePredictionCriterion(SentencePredictionConfig(), task).train()
    if name == "rdrop":
        return RDropCriterion(RDropConfig(), task).train()
    make = AdversarialMaskedLM if masked else AdversarialSentencePrediction
    cfg = AdversarialConfig(tpu=False, ddp_backend="c10d", **STRATEGIES[name])
    return make(cfg, task).train()


def strategies_for(kind: str) -> list[str]:
    """R-Drop by itself is for sentence prediction."""
    return [name for name in STRATEGIES if name != "rdrop" or kind == "sentence_prediction"]


def make_sample(kind: str, args: argparse.Namespace) -> dict[str, Any]:
    """A batch; lengths fall evenly, the share ``--padding`` is padding, 15 % are masked."""
    generator = torch.Generator().manual_seed(2)
    shape = (args.batch_size, args.length)
    tokens = torch.randint(4, args.vocab, shape, generator=generator)
    pad_evenly(tokens, args.padding)
    words = tokens.ne(PAD)
    target: Tensor = torch.randint(2, (args.batch_size, 1), generator=generator)
    if kind == "masked_lm":
        masked = words & (torch.rand(shape, generator=generator) < 0.15)
        target = tokens.masked_fill(~masked, PAD)
    return {
        "net_input": {
            "src_tokens": tokens.to(args.device),
            "src_lengths": words.sum(1).to(args.device),
        },
        "target": target.to(args.device),
        "ntokens": int(words.sum()),
        "nsentences": args.batch_size,
    }


def make_steps(names: list[str], args: argparse.Namespace) -> dict[str, Callable[[], None]]:
    """For each strategy a function that makes one training step of the one model."""
    task = make_task(args.vocab)
    model, sample = make_model(task, args), make_sample(args.task, args)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)

    def step_of(name: str) -> Callable[[], None]:
        criterion = make_criterion(name, task, args.task)

        def step() -> None:
            loss, sample_size, _ = criterion(model, sample)
            (loss / sample_size).backward()
            del loss
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step

    return {name: step_of(name) for name in names}


# ---- measuring memory


def peaks_mebibytes(names: list[str], args: argparse.Namespace) -> dict[str, float] | None:
    """Peak memory of training with each strategy; None where it cannot be told."""
    if args.device == "cuda":
        return cuda_peaks(names, args)
    if not Path("/proc/self/clear_refs").exists():
        return None
    options: list[object] = ["--measure-memory"]
    for option in ("device", "dtype", "batch_size", "layers", "length", "padding", "vocab", "task"):
        options += ["--" + option.replace("_", "-"), getattr(args, option)]
    command = [sys.executable, __file__, *map(str, options)]
    # Large blocks straight from the system and back, or the allocator's leftovers count as used.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def cuda_peaks(names: list[str], args: argparse.Namespace) -> dict[str, float]:
    before = torch.cuda.memory_allocated()
    peaks = {}
    for name, step in make_steps(names, args).items():
        step()  # the first one also fills the libraries' workspaces
        torch.cuda.reset_peak_memory_stats()
        step()
        peaks[name] = (torch.cuda.max_memory_allocated() - before) / 2**20
    return peaks


def own_peaks(names: list[str], args: argparse.Namespace) -> dict[str, float]:
    """The same on a CPU, in this process, which has little else in it."""
    tiny = argparse.Namespace(**{**vars(args), "layers": 1, "batch_size": 1, "length": 2})
    make_steps(names[:1], tiny)[names[0]]()  # imports and thread pools count no more
    before = status_mebibytes("VmRSS")
    steps = make_steps(names, args)
    steps[names[0]]()  # makes Adam's state
    peaks = {}
    for name, step in steps.items():
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is held
        step()
        peaks[name] = status_mebibytes("VmHWM") - before
        print(f"{name}: {peaks[name]:.0f} MiB", file=sys.stderr, flush=True)
    return peaks


# ---- telling


def print_heading(args: argparse.Namespace) -> None:
    print("# One training step with each strategy over the plain step\n")
    print(f"- hardware: {device_name(args.device)}; torch {torch.__version__}, {args.dtype}")
    print(f"- date {datetime.date.today()}, commit {commit('tupe_plugin', 'benchmarks')}, seed 1")
    print(
        f"- {args.task}; TUPE-R of tupe_base's width ({EMBED}, {HEADS} heads), {args.layers} "
        f"layers, {args.vocab} symbols; batch {args.batch_size} x {args.length} tokens, "
        f"{args.padding:.0%} padding; dropout 0.1; Adam; each method's default settings"
    )
    clock = "CPU time of the process" if args.cpu_time else "wall-clock time"
    print(f"- {args.repeats} rounds in turns, {clock}; peak memory with weights and Adam's state\n")
    print("| strategy | s | over plain: min | median | max | peak MiB | over plain | Baidu's |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|", flush=True)


def print_rows(times: list[dict[str, float]], peaks: dict[str, float] | None) -> None:
    for name in times[0]:
        ratios = [t[name] / t["plain"] for t in times]
        seconds = statistics.median(t[name] for t in times)
        memory = "- | -"
        if peaks is not None:
            memory = f"{peaks[name]:.0f} | {peaks[name] / peaks['plain']:.2f}"
        spread = f"{min(ratios):.2f} | {statistics.median(ratios):.2f} | {max(ratios):.2f}"
        theirs = BAIDU.get(name, "")
        print(f"| {name} | {seconds:.3f} | {spread} | {memory} | {theirs} |", flush=True)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_device_and_clock(parser)
    parser.add_argument(
        "--task",
        choices=["sentence_prediction", "masked_lm"],
        default="sentence_prediction",
        help="default: %(default)s",
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the whole model")
    parser.add_argument("--batch-size", type=int, help="sentences (default: 8; 32 on a GPU)")
    parser.add_argument("--layers", type=int, default=12, help="default: %(default)s")
    parser.add_argument("--length", type=int, default=128, help="tokens (default: %(default)s)")
    parser.add_argument("--vocab", type=int, default=30_000, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, help="rounds (default: 3; 20 on a GPU)")
    add_padding(parser)
    parser.add_argument("--measure-memory", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    on_gpu = args.device == "cuda"
    args.batch_size = args.batch_size or (32 if on_gpu else 8)
    args.repeats = args.repeats or (20 if on_gpu else 3)
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    names = strategies_for(args.task)
    if args.measure_memory:
        print(json.dumps(own_peaks(names, args)))
        return 0
    print_heading(args)
    peaks = peaks_mebibytes(names, args)
    times = []
    for times_of_round in rounds(make_steps(names, args), args):
        times.append(times_of_round)
        told = ", ".join(f"{name} {t:.2f} s" for name, t in times_of_round.items())
        print(f"round {len(times)} of {args.repeats}: {told}", file=sys.stderr)
    print_rows(times, peaks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
