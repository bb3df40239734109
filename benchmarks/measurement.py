"""How the benchmarks measure: in turns, by one clock, and on what machine."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from tupe_plugin.sweep.surroundings import processor

ROOT = Path(__file__).resolve().parents[1]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def seconds(step: Callable[[], object], args: argparse.Namespace) -> float:
    """What one call takes, by the clock that ``--cpu-time`` chooses."""
    clock = time.process_time if args.cpu_time else time.perf_counter
    if args.device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    step()
    if args.device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def rounds(steps: dict[str, Callable], args: argparse.Namespace) -> Iterator[dict[str, float]]:
    """Seconds of one step of each variant, in turns; a first round is not told."""
    for number in range(args.repeats + 1):
        times = {name: seconds(step, args) for name, step in steps.items()}
        if number:
            yield times


class Cost(NamedTuple):
    """Of a process."""

    seconds: float
    """Wall clock."""
    cpu_seconds: float
    peak_bytes: int


# A child's peak begins with that of the process that starts it, so a small one does.
_STARTER = """
import json, os, sys, time
start = time.perf_counter()
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
child = os.posix_spawn(sys.executable, sys.argv[1:], os.environ, file_actions=quiet)
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - start
peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps([seconds, usage.ru_utime + usage.ru_stime, peak]))
sys.exit(status != 0)
"""


def cost_of(*command: object) -> Cost:
    """Run a program of this Python.

    Raises:
        SystemExit: it fails.
    """
    words = [sys.executable, *map(str, command)]
    starter = [sys.executable, "-c", _STARTER, *words]
    done = subprocess.run(starter, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(words)}")
    return Cost(*json.loads(done.stdout))


def device_name(device: str) -> str:
    """What the figures are of: the GPU, or the processor with its cores and torch's threads."""
    return torch.cuda.get_device_name() if device == "cuda" else processor()


def commit(*measured: str) -> str:
    """Short hash, and whether one of the files or folders ``measured`` differs from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", *measured)
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


def status_mebibytes(entry: str) -> float:
    """An entry of this process's status, such as VmRSS, or VmHWM for its peak so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{entry}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {entry} line")


def add_device_and_clock(parser: argparse.ArgumentParser) -> None:
    """The options ``--device`` and ``--cpu-time``."""
    parser.add_argument(
        "--device",
        choices=["cpu", "cuda"],
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="default here: %(default)s",
    )
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count CPU time, not wall-clock time: for a busy machine, with OMP_NUM_THREADS=1",
    )


def add_padding(parser: argparse.ArgumentParser) -> None:
    """The option ``--padding``."""
    parser.add_argument(
        "--padding", type=_share, default=0.0, help="share of the tokens that are padding, 0 to 0.5"
    )


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 0.5:
        raise argparse.ArgumentTypeError(f"{text}: give a share between 0 and 0.5")
    return value
