"""`tupe plot`: pictures of a training run and of what a model has learned."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..core.bounds import Whole
from ..sweep.recorded_curves import name_of
from .picture_libraries import check_picture_libraries
from .plot_learning_curve import draw_learning_curve, read_runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pictures = parser.add_subparsers(metavar="PICTURE", required=True)

    curve = pictures.add_parser("learning-curve", help="metrics against updates, from fairseq logs")
    curve.add_argument(
        "logs",
        nargs="+",
        metavar="[NAME=]LOG",
        help="a run.json or its folder, or the output of fairseq-train with --log-format json or "
        "simple; those of one NAME have one colour (default NAME: the folder)",
    )
    curve.add_argument(
        "--metric",
        help="what to draw (default: for each log accuracy, else ppl, else loss; "
        "a panel for each metric)",
    )
    curve.add_argument("--title", default="Learning curve", help="default: %(default)s")
    _add_output(curve)
    curve.set_defaults(draw=_draw_learning_curve)

    positions = pictures.add_parser(
        "positions", help="heat map of each head's learned positional correlation"
    )
    positions.add_argument("checkpoint", type=Path, help="checkpoint of a tupe model")
    positions.add_argument(
        "--length",
        type=Whole(2, 7_000),
        help="tokens of the sequence, [CLS] included (default: 64, or all if there are fewer)",
    )
    positions.add_argument("--title", help="default: scheme and checkpoint")
    _add_output(positions)
    positions.set_defaults(draw=_draw_positions)

    drift = pictures.add_parser(
        "bitfit-drift", help="heat map of how far fine-tuning moved each bias term"
    )
    drift.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="LOG | BASE TUNED",
        help="a run.json or its folder, or the output of fairseq-train with --log-format json or "
        "simple, of --criterion bitfit; or the checkpoints before and after fine-tuning",
    )
    drift.add_argument("--title", help="default: the source, and the number of updates")
    _add_output(drift)
    drift.set_defaults(draw=_draw_drift)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help=".png, .svg or .pdf"
    )


def run(args: argparse.Namespace) -> int:
    check_picture_libraries("it", "matplotlib")
    args.draw(args)
    print(f"wrote {args.output}")
    return 0


def _draw_learning_curve(args: argparse.Namespace) -> None:
    runs = read_runs(args.logs, metric=args.metric)
    draw_learning_curve(runs, args.output, title=args.title)


def _draw_positions(args: argparse.Namespace) -> None:
    from .plot_positions import draw_positions, read_positions  # imports torch

    positions = read_positions(args.checkpoint, length=args.length)
    title = args.title or (
        f"Learned positional correlation of each head\n{positions.scheme}, {args.checkpoint.name}"
    )
    draw_positions(positions.attn_bias, args.output, title=title)


def _draw_drift(args: argparse.Namespace) -> None:
    from .plot_bitfit_drift import compare_checkpoints, draw_drift, read_drift  # imports torch

    if len(args.sources) > 2:
        raise ValueError(f"give one log or two checkpoints, not {len(args.sources)} files")
    if len(args.sources) == 2:
        drift, when = compare_checkpoints(*args.sources), args.sources[1].name
    else:
        drift, updates = read_drift(args.sources[0])
        when = f"{name_of(args.sources[0])}, {updates:,} updates"
    draw_drift(drift, args.output, title=args.title or f"Drift of bias terms\n{when}")
