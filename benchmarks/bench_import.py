"""`tupe import` and `tupe export` of a model: seconds, and memory against the size of its weights.

    python benchmarks/bench_import.py FOLDER > benchmarks/results/import_<hardware>_<date>.md

FOLDER is one of Hugging Face's transformers, with its weights in one file. Each command is a
process of its own, as a user starts it. Its peak is that of all its resident pages, pages of mapped
files among them (`ru_maxrss` of the child). The ratio is this peak, less that of a process that
does nothing but import torch, over the size of the file of weights.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout, too

from benchmarks.measurement import Cost, commit, cost_of, device_name  # noqa: E402
from tupe_plugin.checkpoint.model_folder import WEIGHTS  # noqa: E402


def measure(source: Path, repeats: int = 1) -> dict[str, list[Cost]]:
    """Costs by name, in turns: of torch alone, of the import of a folder, of the export back."""
    costs: dict[str, list[Cost]] = {"import torch": [], "tupe import": [], "tupe export": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            ours, back = folder / "ours", folder / "back"
            commands = (
                ("-c", "import torch"),
                ("-m", "tupe_plugin", "import", source, "-o", ours),
                ("-m", "tupe_plugin", "export", ours / "checkpoint.pt", "-o", back),
            )
            for kind, command in zip(costs.values(), commands, strict=True):
                kind.append(cost_of(*command))
    return costs


def weights_of(source: Path) -> Path:
    """The file of weights in a folder.

    Raises:
        SystemExit: there is none.
    """
    for name in WEIGHTS:
        if (source / name).is_file():
            return source / name
    raise SystemExit(f"{source} has neither {' nor '.join(WEIGHTS)}")


def ratio(cost: Cost, bare: Cost, size: int) -> float:
    """The memory that a command takes beyond torch, in sizes of the file."""
    return (cost.peak_bytes - bare.peak_bytes) / size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    args = parser.parse_args()
    size = weights_of(args.folder).stat().st_size
    print("# `tupe import` and `tupe export`: time and memory\n")
    print(f"- hardware: {device_name('cpu')}, load {os.getloadavg()[0]:.1f} when it began")
    print(f"- date {datetime.date.today()}, commit {commit('tupe_plugin')}")
    print(f"- {args.folder.name}, weights of {size / 1e6:.1f} MB; medians of {args.repeats} runs")
    print("- memory: the peak of all resident pages, those of mapped files among them\n")
    print("| process | wall s | CPU s | peak MB | beyond torch, in sizes of the file |")
    print("|---|--:|--:|--:|--:|")
    costs = measure(args.folder, args.repeats)
    bare = Cost(*map(statistics.median, zip(*costs["import torch"], strict=True)))
    for name, several in costs.items():
        cost = Cost(*map(statistics.median, zip(*several, strict=True)))
        beyond = "" if name == "import torch" else f"{ratio(cost, bare, size):.2f}"
        print(
            f"| {name} | {cost.seconds:.1f} | {cost.cpu_seconds:.1f} "
            f"| {cost.peak_bytes / 1e6:.0f} | {beyond} |"
        )


if __name__ == "__main__":
    main()
