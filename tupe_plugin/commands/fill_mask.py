"""`tupe fill-mask MODEL --text FILE|-`: what a pre-trained model puts in the place of `<mask>`.

TSV: index of the row, unit, probability; several lines a row, the most probable unit first. JSON
lines: {"fillings": [{"unit": ..., "probability": ...}, ...]}.
"""

from __future__ import annotations

import argparse

from ..core.bounds import COUNT
from .text_files import (
    JSON_LINES,
    add_text_arguments,
    check_output,
    json_lines,
    model_of,
    read_rows,
    write_lines,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_text_arguments(
        parser,
        tsv="a table with a header, index (of the row, from 0), unit and probability, and --top "
        "lines for each row",
        json_line="an object on each line, with the fillings of a row",
    )
    parser.add_argument("--top", type=COUNT, default=5, help="units a row (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    check_output(args.output, inputs=(args.text, args.model))
    rows = read_rows(args.text)
    with model_of(args.model, args) as model:
        fillings = model.fill_mask(rows, top=args.top, batch_size=args.batch_size)
    if args.format != JSON_LINES:
        lines = [
            f"{row}\t{filling.unit}\t{filling.probability:.6g}"
            for row, found in enumerate(fillings)
            for filling in found
        ]
        write_lines(["index\tunit\tprobability", *lines], args.output)
    else:
        values = ({"fillings": [one._asdict() for one in found]} for found in fillings)
        write_lines(json_lines(values), args.output)
    return 0
