"""Everything that is measured on a GPU, in one file: `make gpu`.

    python benchmarks/gpu.py [--output FILE]      at most 440 s, by the limits of its parts
    python benchmarks/gpu.py --toy                the same at toy size, on any machine

Each part is a benchmark of this folder with its own heading. A part that fails or takes too long is
named in the file with the end of what it said, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout, too

from benchmarks.measurement import device_name  # noqa: E402

HERE = Path(__file__).parent
# Program, its options on a GPU, its options at toy size, seconds that it may take.
PARTS: list[tuple[str, str, str, int]] = [
    *(
        (
            "bench_attention.py",
            f"--dtype {dtype}",
            "--device cpu --layers 1 --width 64 --vocab 99 --lengths 7 --batch-size 2 --repeats 1",
            100,
        )
        for dtype in ("bfloat16", "float16")
    ),
    (
        "bench_mfac.py",
        "--dims 4400000 --num-grads 1024 --workers --no-recursion --no-bias-terms --large",
        "--device cpu --dims 2000 --num-grads 4 --workers --no-recursion --no-bias-terms --large "
        "--rounds 1",
        90,
    ),
    (
        "bench_strategies.py",
        "--dtype bfloat16 --repeats 5",
        "--device cpu --layers 1 --length 7 --vocab 99 --batch-size 2 --repeats 1",
        150,
    ),
]


def parts(*, toy: bool) -> Iterator[tuple[list[str], int]]:
    """Commands, each with the seconds that it may take."""
    for program, on_gpu, at_toy_size, limit in PARTS:
        yield [program, *(at_toy_size if toy else on_gpu).split()], limit


def measure(command: list[str], limit: int) -> tuple[str, bool]:
    """What a benchmark writes, and whether it came to its end."""
    program, *options = command
    try:
        done = subprocess.run(
            [sys.executable, HERE / program, *options],
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        written = error.stdout.decode() if isinstance(error.stdout, bytes) else ""
        return f"{written}\nstopped after {limit} s\n", False
    if done.returncode:
        said = "\n".join(done.stderr.splitlines()[-5:])
        return f"{done.stdout}\nfailed:\n\n```\n{said}\n```\n", False
    return done.stdout, True


def default_output() -> Path:
    card = re.sub(r"[^a-z0-9]+", "-", device_name("cuda").lower()).strip("-")
    return HERE / "results" / f"gpu_{card}_{datetime.date.today()}.md"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: in results/, by card")
    parser.add_argument("--toy", action="store_true", help="toy size, on the CPU")
    args = parser.parse_args(argv)
    if not args.toy and not torch.cuda.is_available():
        parser.error("there is no CUDA device here: --toy runs the same at toy size")
    output = args.output or (Path("gpu-toy.md") if args.toy else default_output())
    sections, all_whole = [], True
    for command, limit in parts(toy=args.toy):
        words = " ".join(command)
        print(f"{time.strftime('%X')} {words}", file=sys.stderr, flush=True)
        text, whole = measure(command, limit)
        all_whole &= whole
        sections.append(f"`python benchmarks/{words}`\n\n{text}")
        output.write_text("\n\n".join(sections), encoding="utf-8")  # what there is so far
    print(f"wrote {output}")
    return 0 if all_whole else 1


if __name__ == "__main__":
    sys.exit(main())
