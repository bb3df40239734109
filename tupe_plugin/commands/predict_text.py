"""`tupe predict RUN --text FILE|-`: the predictions of raw sentences.

TSV: the table of `tupe predict`. JSON lines: {"prediction": ..., "probabilities": {...}}, or only
the prediction of a regression.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..inference.predictor import Scores
from .predict_runs import split_name
from .prediction_table import predictions_of, table_lines
from .text_files import JSON_LINES, check_output, json_lines, model_of, read_rows, write_lines


def predict_text(args: argparse.Namespace) -> None:
    """Write the predictions of `args.text` by the one model in `args.runs`."""
    task, path = split_name(args.runs[0])
    if task is not None:
        raise ValueError(f"{task}= names the files of -o DIR: give {path} alone with --text")
    check_output(args.output, inputs=(args.text, path))
    rows = read_rows(args.text)
    with model_of(path, args) as model:
        scores, labels = Scores(model.scores(rows, batch_size=args.batch_size), None), model.labels
    predictions = predictions_of(scores, labels)
    if args.format != JSON_LINES:
        indices = [str(row) for row in range(len(rows))]
        write_lines(table_lines(scores, labels, indices, predictions), args.output)
        return
    values: list[dict[str, Any]] = [{"prediction": prediction} for prediction in predictions]
    if labels:
        for value, row in zip(values, scores.outputs.tolist(), strict=True):
            value["probabilities"] = dict(zip(labels, row, strict=True))
    write_lines(json_lines(values), args.output)
