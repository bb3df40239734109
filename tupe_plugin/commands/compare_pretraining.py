"""`tupe compare-pretraining`: position schemes x seeds, and when each reaches BERT-A's loss."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from ..core.bounds import COUNT, Whole
from ..core.position_scheme import POSITION_SCHEMES
from ..core.whole_file import check_replaceable
from ..sweep.find_runs import FoundRuns, MissingRunsError, find_runs
from ..sweep.pretraining_comparison import (
    BASELINE,
    SchemeResult,
    compare,
    comparison_columns,
    comparison_notes,
    comparison_pictures,
    curves_as_csv,
    draw_losses,
    refuse_other_runs,
)
from ..sweep.pretraining_runs import SCHEMES, Budget, pretraining_runs, pretraining_spec
from ..sweep.report import Report, make_report
from ..sweep.report_table import Column, filled, markdown_text
from ..sweep.strategy import RATE
from .picture_libraries import check_picture_libraries
from .report_files import add_file_arguments, check_files, print_and_write
from .sweep import do_or_show, option_given


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="where the runs are written, or already are"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DATA_BIN",
        help="train on this, which `tupe data corpus` made (otherwise: the table of what is there)",
    )
    parser.add_argument(
        "--schemes",
        type=lambda text: tuple(text.split(",")),
        default=SCHEMES,
        metavar="NAME,...",
        help=f"of {', '.join(POSITION_SCHEMES)} (default: {','.join(SCHEMES)})",
    )
    parser.add_argument("--arch", default="tupe_tiny", help="(default: %(default)s)")
    for name, bounds, default, what in (
        ("seeds", Whole(1, 100), 2, "seeds of each scheme"),
        ("updates", Whole(2, 10**9), 10_000, "updates of each run"),
        ("validations", Whole(1, 10_000), 40, "validations of each run, evenly spaced"),
        ("batch-size", COUNT, 64, "sequences of an update"),
        ("tokens", Whole(3, 1_000_000), 128, "tokens of a sequence: the positions of the model"),
        ("lr", RATE, 2e-3, "the highest rate, after the warm-up"),
    ):
        metavar = "RATE" if name == "lr" else "N"
        parser.add_argument(
            f"--{name}", type=bounds, default=default, metavar=metavar, help=f"{what} ({default})"
        )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=option_given,
        metavar="OPTION[=VALUE]",
        help="an option of fairseq-train for every run, such as bf16 or update-freq=4",
    )
    parser.add_argument("--jobs", type=Whole(1, 1_000), help="runs at a time (one for each GPU)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    parser.add_argument(
        "--baseline",
        default=BASELINE,
        choices=tuple(POSITION_SCHEMES),
        metavar="SCHEME",
        help="whose last loss the others are to reach (default: %(default)s)",
    )
    add_file_arguments(parser)
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="draw the losses there: .png, .svg or .pdf"
    )


def run(args: argparse.Namespace) -> int:
    check_files(args)
    if args.picture is not None:
        check_replaceable(args.picture)
        check_picture_libraries("--picture", "matplotlib")
    if args.folder.is_dir():
        with contextlib.suppress(MissingRunsError):  # it has none yet
            refuse_other_runs(find_runs([args.folder]).runs)
    if args.data is not None:
        budget = Budget(
            arch=args.arch,
            updates=args.updates,
            validations=args.validations,
            lr=args.lr,
            batch_size=args.batch_size,
            tokens=args.tokens,
        )
        runs = pretraining_runs(
            args.data,
            args.folder,
            budget,
            schemes=args.schemes,
            seeds=tuple(range(1, args.seeds + 1)),
            more=dict(args.set),
        )
        spec = pretraining_spec(runs, args.folder, jobs=args.jobs, options=dict(args.set))
        status = do_or_show(spec, runs, called="compare-pretraining", dry_run=args.dry_run)
        if status or args.dry_run:
            return status
    found = find_runs([args.folder])
    results = compare(found.runs.values(), baseline=args.baseline)
    table = filled(comparison_columns(args.baseline), results)
    report = make_report(found.runs.values())
    notes = [
        *comparison_notes(results, args.baseline),
        *report.surroundings(),
        *report.uncounted(),
        *found.left_out,
    ]
    print_and_write(
        args,
        markdown_text(*table, notes),
        csv=lambda: curves_as_csv(results),
        html=lambda: _page(table, notes, results, report, found),
    )
    if args.picture is not None:
        draw_losses(results, args.picture)
    return 1 if found.left_out else 0


def _page(
    table: tuple[list[Column], list[list[str]]],
    notes: list[str],
    results: list[SchemeResult],
    report: Report,
    found: FoundRuns,
) -> str:
    from ..sweep.report_page import Table, page
    from .report_heat_maps import heat_maps_of  # imports torch

    heat_maps, more = heat_maps_of(report, found.runs)
    return page(
        Table("Each scheme at the end of the budget", *table, heading=0),
        [*notes, *more],
        [*comparison_pictures(results), *heat_maps],
        title="What positions are worth in pre-training",
        summary=f"{len(found.runs)} runs of {len(results)} schemes.",
    )
