"""Seconds and bytes of an M-FAC update, against the least that it can take.

    python benchmarks/bench_mfac.py > benchmarks/results/mfac_<hardware>_<date>.md

update      `MFAC.step()` with a full window, from the gradient in `.grad` to the changed parameter
floor       the two matrix-vector products alone: `torch.mv` on the window itself, in its type; of a
            compressed window ("1 %"), which torch has no such product for, reading its bytes twice
recursion   the authors' recursion, straightforward: two passes and m steps of Python (float32)

All take turns in one process, so that a busy machine slows all of them alike; each round gives one
ratio, and the smallest, middle and largest ratio of all rounds are told.  A window is made anew for
each type in each round: two of the largest would not fit beside each other.  One that does not fit
alone is left out, and named.

Three tables more: compressed windows of sizes that no dense one fits, with so many updates from an
empty window; the window shared out over gloo workers; and M-FAC over nothing but the bias terms of
tupe_base.  Their memory is what the peak resident size of processes of their own grows by, after
a step of torch's SGD: the first step of any optimizer loads 70 MB of torch's own modules.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout, too

from benchmarks.measurement import (  # noqa: E402
    DTYPES,
    add_device_and_clock,
    commit,
    device_name,
    seconds,
    status_mebibytes,
)
from tests.references.mfac import CoefficientRecursion  # noqa: E402
from tupe_plugin.core.available_memory import available_bytes  # noqa: E402
from tupe_plugin.core.encoder import TupeEncoder  # noqa: E402
from tupe_plugin.core.fisher_window import FisherWindow  # noqa: E402
from tupe_plugin.core.gradient_rows import GradientRows, largest_magnitude  # noqa: E402
from tupe_plugin.core.mfac import MFAC  # noqa: E402
from tupe_plugin.core.position_scheme import POSITION_SCHEMES  # noqa: E402
from tupe_plugin.core.sparse_rows import SparseRows  # noqa: E402
from tupe_plugin.core.window_settings import window_bytes  # noqa: E402

DAMPING = 1e-6
NORM = 1.0  # of a gradient
SHIFT = 7919  # columns from one row's numbers to those of the next
DENSITY = 0.01
COMPRESSED = {
    f"{name}, {DENSITY:.0%}": {"window_dtype": DTYPES[name], "density": DENSITY}
    for name in ("float32", "bfloat16")
}
WINDOWS: dict[str, dict[str, Any]] = {
    **{name: {"window_dtype": dtype} for name, dtype in DTYPES.items()},
    **COMPRESSED,
}
CHOICES = 8  # different rows of a full compressed window: to choose the entries of all takes long


# ---- what is compared


def parameter(dim: int, device: torch.device | str) -> nn.Parameter:
    """``(dim,)`` zeros with a random gradient of length NORM."""
    torch.manual_seed(1)
    param = nn.Parameter(torch.zeros(dim, device=device))
    param.grad = torch.randn(dim, device=device) * (NORM / dim**0.5)
    return param


def full_optimizer(params: Sequence[nn.Parameter], num_grads: int, **options: Any) -> MFAC:
    """M-FAC with a window full of gradients: the first one, moved on by SHIFT columns in each row.

    Random vectors are nearly orthogonal, and so the Gram matrix is set to that of orthogonal ones:
    to compute it would take longer than the benchmark.
    """
    optimizer = MFAC(params, num_grads=num_grads, damping=DAMPING, **options)
    optimizer.step()
    fill(optimizer)
    return optimizer


def fill(optimizer: MFAC) -> None:
    """Make the window of ``optimizer``, which has stepped, a full one."""
    assert optimizer.window is not None
    window = getattr(optimizer.window, "window", optimizer.window)  # the one in a compressed one
    rows = window.rows
    if isinstance(rows, GradientRows):
        first = rows.values[0].repeat(2)
        for i, row in enumerate(rows.values):
            start = i * SHIFT % max(1, len(row))
            row.copy_(first[start : start + len(row)])
    else:
        gradient = torch.cat([p.grad.flatten() for p in optimizer.param_groups[0]["params"]])
        for i in range(CHOICES):
            row = gradient.roll(i * SHIFT)
            row = rows.narrow_down(row, largest=largest_magnitude(row))
            for slot in range(i, len(rows.values), CHOICES):
                rows.replace(slot, row)
    rows.scales.fill_(float(rows.scales[0]))
    window.system.gram.zero_().fill_diagonal_(float(window.system.gram[0, 0]) or NORM**2)
    window.system.factorise()
    window.num_pushed = window.num_grads


def stepping(optimizer: MFAC) -> Callable[[], None]:
    """`step` with another gradient each time: products of ones that repeat are taken in float64."""
    params = [p for p in optimizer.param_groups[0]["params"] if p.grad is not None]
    for p in params:
        p.grad = torch.randn_like(p) * (p.grad.norm() / p.numel() ** 0.5)

    def step() -> None:
        for p in params:
            p.grad = p.grad.roll(SHIFT)
        optimizer.step()

    return step


def floor(kept: GradientRows | SparseRows) -> Callable[[], object]:
    """The two products alone, or what they must at least read."""
    if isinstance(kept, SparseRows):
        # Largest integers in the bits: the same speed for every type.
        stored = [bits.view(torch.int16) for bits in (kept.values, kept.indices)]
        return lambda: [bits.amax() for bits in 2 * stored]
    matrix = kept.values
    rows, dim = matrix.shape
    v = torch.ones(dim, dtype=matrix.dtype, device=matrix.device)
    c = torch.ones(rows, dtype=matrix.dtype, device=matrix.device)

    def products() -> None:
        torch.mv(matrix, v)
        torch.mv(matrix.t(), c)

    return products


def recursion(optimizer: MFAC) -> Callable[[], Tensor]:
    """The authors' way on the same window."""
    window = optimizer.window
    assert isinstance(window, FisherWindow)
    rows = window.rows.values
    g = optimizer.param_groups[0]["params"][0].grad.to(rows.dtype)
    slow = CoefficientRecursion(window.num_grads, 0, damping=DAMPING, dtype=rows.dtype)
    slow.rows = rows
    slow.dots = window.system.gram.to(rows.dtype)
    return lambda: slow.step(g)


# ---- measuring


def measure(
    dim: int, num_grads: int, windows: Sequence[str], args: argparse.Namespace
) -> dict[str, list[float]]:
    """Arm -> its seconds in each round, after one round that is not counted."""
    times: dict[str, list[float]] = {}
    for number in range(args.rounds + 1):
        for name in windows:
            optimizer = full_optimizer([parameter(dim, args.device)], num_grads, **WINDOWS[name])
            assert optimizer.window is not None
            arms = {
                f"floor {name}": floor(optimizer.window.rows),
                f"update {name}": stepping(optimizer),
            }
            if name == "float32" and not args.no_recursion:
                arms["recursion"] = recursion(optimizer)
            for arm, run in arms.items():
                taken = seconds(run, args)
                if number:
                    times.setdefault(arm, []).append(taken)
            del optimizer, arms, run  # the next window takes this one's room
            if not number:
                gc.collect()  # torch's imports at its first step hold the first optimizer
        told = ", ".join(f"{name} {taken[-1]:.3f} s" for name, taken in times.items())
        print(f"{dim:,} x {num_grads}, round {number} of {args.rounds}: {told}", file=sys.stderr)
    return times


def bytes_of(dim: int, num_grads: int, name: str) -> int:
    settings = dict(WINDOWS[name])
    return window_bytes(num_grads, dim, settings.pop("window_dtype"), **settings)


def fits(dim: int, num_grads: int, name: str, args: argparse.Namespace) -> bool:
    """Whether there is room for the window, beside what is to be left to others."""
    free = available_bytes(torch.device(args.device))
    needed = bytes_of(dim, num_grads, name) + args.leave_free * 1e9
    return free is None or needed < free


def peak_bytes_after_sgd(params: Sequence[nn.Parameter]) -> int:
    """What a process needs before M-FAC comes."""
    torch.optim.SGD(params, lr=0.0).step()
    return peak_bytes()


def peak_bytes() -> int:
    """Largest resident size of this process so far."""
    return round(status_mebibytes("VmHWM") * 2**20)


def worker(rank: int, workers: int, folder: str, args: argparse.Namespace) -> None:
    """Leave in ``folder`` what this worker's peak grew by, and its seconds for an update."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=workers
    )
    param = parameter(args.dims[0], "cpu")
    before = peak_bytes_after_sgd([param])
    optimizer = full_optimizer([param], args.num_grads[0], process_group=dist.group.WORLD)
    step = stepping(optimizer)
    times = [seconds(step, args) for _ in range(args.rounds + 1)][1:]
    result = peak_bytes() - before, statistics.median(times)
    Path(folder, f"{rank}.json").write_text(json.dumps(result))
    dist.barrier()
    # Whoever holds the group keeps its threads, and these must end before the interpreter.
    del optimizer, step
    gc.collect()
    dist.destroy_process_group()


def bias_terms() -> list[nn.Parameter]:
    """Those of TUPE-R base, with gradients; every other parameter frozen."""
    encoder = TupeEncoder(
        32_768,
        1,
        num_layers=12,
        embed_dim=768,
        ffn_embed_dim=3072,
        num_heads=12,
        max_positions=512,
        scheme=POSITION_SCHEMES["tupe-r"],
    )
    torch.manual_seed(1)
    for name, param in encoder.named_parameters():
        param.requires_grad_(name.endswith("bias"))
        if param.requires_grad:
            param.grad = torch.randn_like(param) / 300
    return list(encoder.parameters())


def measure_bias_terms(num_grads: int) -> tuple[int, int, float]:
    """(numbers trained, bytes by which this process's peak grew, seconds for an update)."""
    params = bias_terms()
    before = peak_bytes_after_sgd(params)
    step = stepping(full_optimizer(params, num_grads))
    start = time.perf_counter()
    for _ in range(3):
        step()
    taken = (time.perf_counter() - start) / 3
    return sum(p.numel() for p in params if p.requires_grad), peak_bytes() - before, taken


def measure_large(dim: int, num_grads: int, name: str, args: argparse.Namespace) -> list[float]:
    """[bytes this process's peak grew by, s of an update from empty, of a full one, its floor]."""
    param = parameter(dim, args.device)
    assert param.grad is not None
    before = peak_bytes_after_sgd([param])
    optimizer = MFAC([param], num_grads=num_grads, damping=DAMPING, **WINDOWS[name])
    from_empty = []
    for number in range(args.updates):
        param.grad.normal_().mul_(NORM / dim**0.5)
        from_empty.append(seconds(optimizer.step, args))
        told = f"update {number + 1} of {args.updates}: {from_empty[-1]:.2f} s"
        print(f"{dim:,} x {num_grads}, {name}, {told}", file=sys.stderr)
    grown = peak_bytes() - before
    fill(optimizer)
    assert optimizer.window is not None
    run, least = stepping(optimizer), floor(optimizer.window.rows)
    times = [(seconds(least, args), seconds(run, args)) for _ in range(args.rounds + 1)][1:]
    floors, updates = (statistics.median(taken) for taken in zip(*times, strict=True))
    return [grown, statistics.mean(from_empty), updates, floors]


# ---- telling


def spread(numerator: list[float], denominator: list[float]) -> str:
    """Smallest, middle and largest ratio of the rounds."""
    ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
    return " | ".join(f"{r:.2f}" for r in (min(ratios), statistics.median(ratios), max(ratios)))


def rows_of_comparison(args: argparse.Namespace) -> Iterator[str]:
    for dim in args.dims:
        for num_grads in args.num_grads:
            windows = [name for name in args.windows if fits(dim, num_grads, name, args)]
            times = measure(dim, num_grads, windows, args)
            for name in args.windows:
                gigabytes = bytes_of(dim, num_grads, name) / 1e9
                head = f"| {dim:,} | {num_grads} | {name} | {gigabytes:.2f} |"
                if name not in windows:
                    yield f"{head} left out: no room" + " | -" * 9 + " |"
                    continue
                update, least = times[f"update {name}"], times[f"floor {name}"]
                plain = times.get("update float32")
                against_plain = spread(update, plain) if plain else "- | - | -"
                slow = times.get("recursion") if name == "float32" else None
                ratio = f"{statistics.median(slow) / statistics.median(update):.1f}" if slow else ""
                yield (
                    f"{head} {statistics.median(least):.3f} | {statistics.median(update):.3f} "
                    f"| {spread(update, least)} | {against_plain} "
                    f"| {f'{statistics.median(slow):.3f} | {ratio}' if slow else '- | -'} |"
                )


def rows_of_large_windows(args: argparse.Namespace) -> Iterator[str]:
    for size in args.large:
        dim, num_grads = (int(number) for number in size.split("x"))
        for name in COMPRESSED:
            options = ["--updates", args.updates, "--rounds", args.rounds]
            options += ["--cpu-time"] * args.cpu_time
            command = [sys.executable, __file__, "--measure-large", dim, num_grads, name, *options]
            done = subprocess.run(
                [str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True
            )
            grown, from_empty, update, least = json.loads(done.stdout)
            dense = window_bytes(num_grads, dim, WINDOWS[name]["window_dtype"])
            yield (
                f"| {dim:,} | {num_grads} | {name} | {dense / 1e9:.1f} "
                f"| {bytes_of(dim, num_grads, name) / 1e9:.2f} | {grown / 1e9:.2f} "
                f"| {from_empty:.2f} | {least:.2f} | {update:.2f} | {update / least:.1f} |"
            )


def rows_of_workers(args: argparse.Namespace) -> Iterator[str]:
    dim, num_grads = args.dims[0], args.num_grads[0]
    for workers in args.workers:
        with tempfile.TemporaryDirectory() as folder:
            torch.multiprocessing.spawn(worker, (workers, folder, args), nprocs=workers)
            results = [json.loads(Path(folder, f"{r}.json").read_text()) for r in range(workers)]
        memory, taken = (max(values) for values in zip(*results, strict=True))
        share = num_grads * -(-dim // workers) * 4
        yield f"| {workers} | {share / 1e9:.2f} | {memory / 1e9:.2f} | {taken:.3f} |"


def row_of_bias_terms() -> str:
    command = [sys.executable, __file__, "--measure-bias-terms"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    numbers, memory, taken = json.loads(done.stdout)
    return f"| {numbers:,} | 1024 | {numbers * 4096 / 1e9:.2f} | {memory / 1e9:.2f} | {taken:.3f} |"


def report(args: argparse.Namespace) -> Iterator[str]:
    clock = "CPU time of the process" if args.cpu_time else "wall-clock time"
    names = ("mfac", "fisher_window", "gradient_rows", "damped_gram", "worker_columns")
    names += ("compressed_window", "sparse_rows")
    measured = [f"tupe_plugin/core/{name}.py" for name in names]
    yield "# M-FAC: an update against its floor\n"
    yield f"- hardware: {device_name(args.device)}; torch {torch.__version__}"
    yield f"- date {datetime.date.today()}, commit {commit(*measured, 'benchmarks')}, seed 1"
    yield f"- {args.rounds} rounds in turns, {clock}, medians; below 1 is in favour of the update\n"
    yield (
        "| d | m | window | GB | floor s | update s | update / floor: min | median | max "
        "| update / float32's: min | median | max | recursion s | / update |"
    )
    yield "|--:|--:|---|" + "--:|" * 11
    yield from rows_of_comparison(args)
    if args.large:
        counts = f"{args.updates} updates from an empty window, {args.rounds} of a full one"
        yield f"\nCompressed windows alone: {counts}.\n"
        yield (
            "| d | m | window | GB if dense | GB | GB that the peak grew by "
            "| update s from empty: mean | floor s | update s | update / floor |"
        )
        yield "|--:|--:|---|" + "--:|" * 7
        yield from rows_of_large_windows(args)
    if args.workers:
        window = f"d = {args.dims[0]:,}, m = {args.num_grads[0]}"
        yield f"\nShared out: {window}, float32, one thread each.\n"
        yield "| gloo workers | GB of the window each | GB that the peak grew by | update s |"
        yield "|--:|--:|--:|--:|"
        yield from rows_of_workers(args)
    if args.bias_terms:
        yield "\nThe bias terms of tupe_base alone, float32, window full.\n"
        yield "| d | m | GB of the window | GB that the peak grew by | update s |"
        yield "|--:|--:|--:|--:|--:|"
        yield row_of_bias_terms()


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    integers: dict[str, Any] = {"type": int, "nargs": "*", "metavar": "N"}
    parser.add_argument("--dims", default=[1_000_000, 4_400_000], help="parameters", **integers)
    parser.add_argument("--num-grads", default=[512, 1024], help="window sizes", **integers)
    parser.add_argument("--windows", default=list(WINDOWS), choices=WINDOWS, nargs="+")
    parser.add_argument(
        "--large",
        default=["22700000x512", "110000000x1024"],
        metavar="DxM",
        nargs="*",
        help="compressed windows alone (default: all MiniLM 6 x 384, all tupe_base)",
    )
    parser.add_argument("--updates", type=int, default=50, help="of those, from empty (default 50)")
    add_device_and_clock(parser)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    parser.add_argument(
        "--workers",
        default=[1, 2, 4],
        help="share the first --dims x the first --num-grads out over so many; none leaves it out",
        **integers,
    )
    parser.add_argument(
        "--leave-free",
        type=float,
        default=2.0,
        metavar="GB",
        help="memory for others; a window that would take it is left out (default %(default)s)",
    )
    parser.add_argument("--no-recursion", action="store_true", help="leave the slow arm out")
    parser.add_argument(
        "--no-bias-terms", dest="bias_terms", action="store_false", help="leave tupe_base out"
    )
    parser.add_argument("--measure-bias-terms", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure-large", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.measure_bias_terms:
        print(json.dumps(measure_bias_terms(1024)))
        return 0
    if args.measure_large:
        dim, num_grads, name = args.measure_large
        print(json.dumps(measure_large(int(dim), int(num_grads), name, args)))
        return 0
    for line in report(args):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
