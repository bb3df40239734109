"""`tupe report`: what a sweep has found, as a table, CSV and a page with pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from ..sweep.find_runs import find_runs
from ..sweep.report import BASELINES, Report, make_report
from ..sweep.report_table import comma_separated, markdown, table_cells
from ..sweep.run_record import RunRecord
from .report_files import add_file_arguments, check_files, print_and_write


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="folders that hold runs, each with a run.json, or, from older scripts, a train.log",
    )
    parser.add_argument(
        "--also",
        nargs="*",
        default=[],
        metavar="METRIC",
        help="more metrics (f1, spearman ...), at the validation that is best by the run's metric",
    )
    parser.add_argument(
        "--baseline",
        metavar="NAME",
        help="strategy or model that the others are compared with, seed by seed (default: the "
        f"first of {', '.join(BASELINES)} that is there)",
    )
    add_file_arguments(parser)


def run(args: argparse.Namespace) -> int:
    check_files(args)
    found = find_runs(args.folders)
    report = make_report(
        found.runs.values(), baseline=args.baseline, also=args.also, left_out=found.left_out
    )
    print_and_write(
        args,
        markdown(report),
        csv=lambda: comma_separated(report),
        html=lambda: _page(report, found.runs),
    )
    for line in found.left_out:
        print(f"tupe report: {line}", file=sys.stderr)
    return 1 if found.left_out else 0


def _page(report: Report, folders: Mapping[Path, RunRecord]) -> str:
    from ..sweep.report_page import Table, page
    from ..sweep.report_pictures import pictures_of
    from .report_heat_maps import heat_maps_of  # imports torch

    columns, rows = table_cells(report)
    heat_maps, notes = heat_maps_of(report, folders)
    counted = sum(len(row.arm.counted) for row in report.rows)
    runs = sum(len(row.arm.runs) for row in report.rows)
    heading = next(n for n, column in enumerate(columns) if column.title == "strategy")
    return page(
        Table("Each strategy at its best learning rate", columns, rows, heading),
        [*report.notes(), *notes],
        [*pictures_of(report), *heat_maps],
        title="What the runs have found",
        summary=f"{runs} runs, {counted} of them with a score, in {len(report.rows)} settings.",
    )
