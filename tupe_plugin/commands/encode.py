"""`tupe encode MODEL --text FILE|-`: the features of sentences.

TSV: the features of a row, separated by tabs. JSON lines: {"features": [...]}, and by token
{"tokens": [...], "features": [[...], ...]}.
"""

from __future__ import annotations

import argparse

from ..inference.pooling import POOLINGS
from .text_files import (
    JSON_LINES,
    add_text_arguments,
    check_output,
    json_lines,
    model_of,
    read_rows,
    write_lines,
)

BY_TOKEN = "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_text_arguments(
        parser,
        tsv="a line of numbers for each row, without a header",
        json_line="an object on each line, with the features of a row",
    )
    parser.add_argument(
        "--pooling",
        choices=(*POOLINGS, BY_TOKEN),
        default="mean",
        help="the mean over the tokens of a row, its first token, or none: each token's (default: "
        "%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    by_token = args.pooling == BY_TOKEN
    if by_token and args.format != JSON_LINES:
        raise ValueError(f"--pooling {BY_TOKEN} needs --format {JSON_LINES}")
    check_output(args.output, inputs=(args.text, args.model))
    rows = read_rows(args.text)
    with model_of(args.model, args) as model:
        pooling = None if by_token else args.pooling
        ids = model.token_ids(rows)
        features = model.encode_ids(ids, pooling=pooling, batch_size=args.batch_size)
        names = model.names(ids) if by_token else []
    if by_token:
        lines = json_lines(
            {"tokens": tokens, "features": one.tolist()}
            for tokens, one in zip(names, features, strict=True)
        )
    elif args.format == JSON_LINES:
        lines = json_lines({"features": one.tolist()} for one in features)
    else:
        lines = ("\t".join(f"{value:.9g}" for value in one.tolist()) for one in features)
    write_lines(lines, args.output)
    return 0
