"""`import fairseq` with the start-up hook and without it: processor seconds, side by side.

    python benchmarks/bench_fairseq_import.py \\
        > benchmarks/results/fairseq-import_<hardware>_<date>.md

Each import is a process of its own, in turns. fairseq 0.12.2 fails at import on Python >= 3.11, so
the process without the hook takes the one patch that lets it start, and nothing else.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout, too

from benchmarks.measurement import commit, cost_of, device_name  # noqa: E402

IMPORT = "import fairseq"
WITHOUT = f"""
import importlib.util, sys
sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "FairseqWatcher"]
path = {str(ROOT / "tupe_plugin/compat/python_dataclasses.py")!r}
spec = importlib.util.spec_from_file_location("python_dataclasses", path)
patch = importlib.util.module_from_spec(spec)
spec.loader.exec_module(patch)
patch.make_config_dataclasses_hashable()
{IMPORT}
"""
WITH = f"""
{IMPORT}
import sys
assert any(getattr(finder, "mends_fairseq", False) for finder in sys.meta_path)
"""


def measure(repeats: int) -> list[tuple[float, float]]:
    """Processor seconds with the hook and without it, in turns."""
    pairs = []
    for turn in range(repeats + 1):
        seconds = {}
        for code in (WITH, WITHOUT) if turn % 2 else (WITHOUT, WITH):
            seconds[code] = cost_of("-c", code).cpu_seconds
        pairs.append((seconds[WITH], seconds[WITHOUT]))
    return pairs[1:]  # the first fills the cache of files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=15, help="default: %(default)s")
    args = parser.parse_args()
    print("# `import fairseq` with the start-up hook and without it\n")
    print(f"- hardware: {device_name('cpu')}, load {os.getloadavg()[0]:.1f} when it began")
    print(f"- date {datetime.date.today()}, commit {commit('tupe_plugin')}")
    print(
        f"- Python {platform.python_version()}; processor seconds of {args.repeats} processes each"
    )
    pairs = measure(args.repeats)
    print("\n| | with the hook | without it | ratio |")
    print("|---|--:|--:|--:|")
    for name, choose in (("fastest", min), ("median", statistics.median)):
        ours, theirs = (choose(column) for column in zip(*pairs, strict=True))
        print(f"| {name} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.3f} |")
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    middle, least, most = statistics.median(ratios), ratios[0], ratios[-1]
    print(f"\nRatios of the pairs: median {middle:.3f}, {least:.3f} to {most:.3f}.")


if __name__ == "__main__":
    main()
