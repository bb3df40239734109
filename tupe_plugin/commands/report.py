"""`tupe report`: one table out of many fine-tuning runs, by the TUPE paper's protocol.

Runs that differ in nothing but the seed lie in one folder (`.../lr5e-5/seed1/train.log`), which
is a row of the table for each metric by which they chose their best checkpoint.  For each row:
the median over the seeds of each run's best validation, which is what the paper reports
(arXiv 2006.15595, section 4.1), and mean and standard deviation of the last one, which no dev set
has chosen.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..compat.metric_direction import Metric
from ..sweep.fairseq_log import UnreadableLogError, read_log

LOG_NAME = "train.log"
MEMORY_NAME = "peak_memory.txt"  # beside the log: bytes, if somebody has measured them

_METRIC = re.compile(r"'best_checkpoint_metric': '(\w+)'")
_MAXIMIZE = re.compile(r"'maximize_best_checkpoint_metric': (True|False)")
_SEED = re.compile(r"'seed': (\d+)")
_SECONDS = re.compile(r"done training in ([\d.]+) seconds")


class MissingRunsError(ValueError):
    """A path is no folder of runs; the message says which."""


@dataclass(frozen=True)
class Run:
    """One run's validations, in order, and its metric."""

    log: Path
    seed: int
    metric: Metric
    validations: tuple[dict[str, float], ...]
    seconds: float
    peak_bytes: int | None = None

    @property
    def best(self) -> dict[str, float]:
        """The validation with the best metric; the last of equals, as fairseq keeps it."""
        metric, latest_first = self.metric, reversed(self.validations)
        return max(latest_first, key=lambda validation: metric.goodness(validation[metric.name]))

    @property
    def row(self) -> tuple[Path, str]:
        """What runs of one row have in common."""
        return self.log.parent.parent, self.metric.name

    @property
    def last(self) -> dict[str, float]:
        return self.validations[-1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", nargs="+", type=Path, help=f"folders that hold runs, each with a {LOG_NAME}"
    )
    parser.add_argument(
        "--also",
        nargs="*",
        default=[],
        metavar="METRIC",
        help="more metrics (f1, spearman ...), at the validation that is best by the run's metric",
    )


def run(args: argparse.Namespace) -> int:
    found = (log for folder in args.folders for log in find_logs(folder))
    logs = sorted({log.resolve(): log for log in found}.values())
    runs, unread = [], []
    for log in logs:
        try:
            runs.append(read_run(log, also=args.also))
        except UnreadableLogError as error:
            unread.append(f"tupe report: {error}: left out")
    runs, repeated = one_of_each_seed(runs)
    print("\n".join(format_table(runs, also=args.also)))
    for line in [*unread, *repeated]:
        print(line, file=sys.stderr)
    return 1 if unread or repeated else 0


def find_logs(folder: Path) -> list[Path]:
    """Those of all runs below a folder.

    Raises:
        MissingRunsError: it is none, or holds no run.
    """
    if folder.is_file():
        raise MissingRunsError(
            f"{folder} is a file: give a folder of runs, such as {folder.parent}"
        )
    if not folder.is_dir():
        raise MissingRunsError(f"no such folder: {folder}")
    logs = list(folder.rglob(LOG_NAME))
    if not logs:
        raise MissingRunsError(
            f"no {LOG_NAME} under {folder}: train with --log-format json --log-file RUN/{LOG_NAME}"
        )
    return logs


def read_run(log: Path, *, also: Sequence[str] = ()) -> Run:
    """Read one `--log-format json` log.

    Raises:
        UnreadableLogError: it does not come from a finished run, or lacks its own metric or one
            of `also`.
    """
    validations = tuple(read_log(log).valid.get("valid", {}).values())
    text = log.read_text(encoding="utf-8")
    metric, maximize, seed = (pattern.search(text) for pattern in (_METRIC, _MAXIMIZE, _SEED))
    seconds = _SECONDS.search(text)
    if metric is None or maximize is None or seed is None:
        raise UnreadableLogError(f"{log} does not begin with fairseq-train's settings")
    if seconds is None:
        raise UnreadableLogError(f"{log} is not of a finished run")
    for name in (metric[1], *also):
        if not validations or any(name not in validation for validation in validations):
            raise UnreadableLogError(f"{log} has no {name} of the dev set `valid`")
    return Run(
        log=log,
        seed=int(seed[1]),
        metric=Metric(metric[1], maximize[1] == "True"),
        validations=validations,
        seconds=float(seconds[1]),
        peak_bytes=_peak_bytes(log.with_name(MEMORY_NAME)),
    )


def _peak_bytes(measured: Path) -> int | None:
    if not measured.is_file():
        return None
    text = measured.read_text(encoding="utf-8").strip()
    if not text.isdecimal():
        raise UnreadableLogError(f"{measured} should hold a number of bytes, not {text[:20]!r}")
    return int(text)


def one_of_each_seed(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The first run of each seed of a row, and a line about each that would count once more."""
    kept: dict[tuple[Path, str, int], Run] = {}
    repeated = []
    for one in runs:
        first = kept.setdefault((*one.row, one.seed), one)
        if first is not one:
            repeated.append(
                f"tupe report: {one.log} has seed {one.seed} and {one.metric.name}, as {first.log} "
                "has: left out; give runs with other settings a folder of their own"
            )
    return list(kept.values()), repeated


def format_table(runs: list[Run], *, also: Sequence[str] = ()) -> list[str]:
    """Lines of a Markdown table, a row for each folder and metric."""
    rows: dict[tuple[Path, str], list[Run]] = defaultdict(list)
    for one in runs:
        rows[one.row].append(one)
    titles = ["runs", "metric", "seeds", "best: median", "best: mean ± std", "last: mean ± std"]
    titles += [f"{name}: mean ± std" for name in also] + ["s a run"]
    with_memory = any(one.peak_bytes is not None for one in runs)
    titles += ["peak MB"] * with_memory
    lines = [_row(titles), _row(["---"] * len(titles))]
    for (folder, metric), members in sorted(rows.items()):
        best = [one.best[metric] for one in members]
        cells = [
            str(folder),
            metric,
            str(len(members)),
            f"{statistics.median(best):.4g}",
            _mean_and_std(best),
            _mean_and_std([one.last[metric] for one in members]),
        ]
        cells += [_mean_and_std([one.best[name] for one in members]) for name in also]
        cells.append(f"{statistics.mean(one.seconds for one in members):.0f}")
        if with_memory:
            peaks = [one.peak_bytes for one in members if one.peak_bytes is not None]
            cells.append(f"{max(peaks) / 1e6:.0f}" if peaks else "-")
        lines.append(_row(cells))
    return lines


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _mean_and_std(values: list[float]) -> str:
    """Mean and sample standard deviation; no deviation of one value."""
    mean = f"{statistics.mean(values):.4g}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.2g}"
