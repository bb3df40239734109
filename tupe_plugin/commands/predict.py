"""`tupe predict RUN... -o DIR`: predictions of fine-tuned models, and GLUE's zip.

    DIR/TASK/valid.tsv        index, gold, prediction and each class's probability, for each dev set
    DIR/TASK/test.tsv         the same without gold
    DIR/TASK/metrics.json     whole-set metrics of the dev sets
    DIR/submission/TASK.tsv   GLUE tasks: the file for the server

All rows are there, in the order of the data.

`tupe predict RUN --text FILE`: the same table for raw sentences, on standard output.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.whole_file import whole_file
from ..data.glue_tasks import GlueTask, load_tasks
from .glue_submission import (
    Submission,
    SubmissionError,
    all_submissions,
    missing_submissions,
    read_submissions,
    write_zip,
)
from .text_files import STANDARD, TEXT_HELP, add_format_argument, add_model_arguments

if TYPE_CHECKING:
    from ..inference.predictor import Predictor, Scores
    from .predict_runs import PredictionRun

SUBMISSIONS = "submission"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "examples:\n"
        "  tupe predict runs/MRPC -o out                      one run\n"
        "  tupe predict runs --data data/glue -o out --zip glue.zip   a folder of runs\n"
        "  tupe predict -o out --zip glue.zip                 only pack what is in out/submission"
    )
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="[TASK=]RUN",
        help="a checkpoint, or a folder: its checkpoint_best.pt, or those of the runs in it (of "
        "several runs of one task, the best on the dev set is used). TASK defaults to the name of "
        "its data folder without -bin",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="the folder to write; with --text the file (default: standard output)",
    )
    parser.add_argument("--text", metavar="FILE", help=f"predict {TEXT_HELP}")
    add_format_argument(
        parser,
        tsv="with --text a table with a header",
        json_line="an object on each line, with the prediction and the classes' probabilities",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="a folder of data, or a folder of TASK-bin folders (default: what each checkpoint "
        "was trained on)",
    )
    parser.add_argument(
        "--splits",
        default="",
        metavar="A,B",
        help="splits to predict: valid (the dev set), valid1, test ... (default: all of the data)",
    )
    parser.add_argument(
        "--zip",
        type=Path,
        metavar="FILE",
        help="pack DIR/submission for the GLUE server, which wants the files of all tasks; those "
        "that earlier calls wrote are packed too",
    )
    parser.add_argument(
        "--fill-missing",
        action="store_true",
        help="with --zip: for a task without a model, write the same prediction in every row",
    )
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    wrong = _wrong_arguments(args)
    if wrong:
        print(f"tupe predict: {wrong}", file=sys.stderr)
        return 2
    if args.text is not None:
        from .predict_text import predict_text

        predict_text(args)
        return 0
    if args.runs:
        _predict_all(args)
    if args.zip is not None:
        _pack(args.output / SUBMISSIONS, args.zip, fill_missing=args.fill_missing)
    return 0


def _wrong_arguments(args: argparse.Namespace) -> str | None:
    if args.text is None:
        if args.output is None:
            return "give -o DIR, or --text FILE"
        if args.format is not None:
            return f"--format {args.format} is for --text FILE"
        if str(args.output) == STANDARD:
            return "-o - is for --text FILE: give the folder to write"
        if not args.runs and args.zip is None:
            return "give a RUN, or --zip to pack DIR/submission"
        return None
    if len(args.runs) != 1:
        return "give one RUN with --text"
    if args.splits or args.zip or args.fill_missing:
        return "--splits, --zip and --fill-missing are not for --text"
    return None


def _predict_all(args: argparse.Namespace) -> None:
    import torch

    from ..inference.predictor import PredictionError, Predictor, list_splits, read_fine_tuned
    from .predict_runs import find_runs

    logging.getLogger("fairseq").setLevel(logging.WARNING)
    runs = find_runs(args.runs, data=args.data)
    splits = {run.task: _chosen_splits(args.splits, list_splits(run.data), run) for run in runs}
    if args.zip is not None:  # predicting takes time: say now what will be missing
        _check_complete(args, runs, splits)
    on_gpu = torch.cuda.is_available() and not args.cpu
    device = torch.device("cuda" if on_gpu else "cpu")
    for one in runs:
        for line in one.remarks:
            print(line)
        run = read_fine_tuned(one.checkpoint)
        predictor = Predictor(run, one.data, device=device, half=args.fp16, task=one.task)
        glue = load_tasks().get(one.task)
        if glue is not None:
            _check_labels(glue, predictor)
        print(f"{one.task}: {one.checkpoint} on {one.data}")
        try:
            scores = {
                split: predictor.predict(split, batch_size=args.batch_size)
                for split in splits[one.task]
            }
        except torch.cuda.OutOfMemoryError as error:
            raise PredictionError(
                f"the GPU's memory is full: lower --batch-size; {error}"
            ) from error
        _write(args.output, one.task, predictor, scores, strict=args.zip is not None)


def _chosen_splits(wanted: str, there: Sequence[str], run: PredictionRun) -> list[str]:
    from ..inference.predictor import PredictionError

    chosen = [split for split in wanted.split(",") if split] or list(there)
    missing = [split for split in chosen if split not in there]
    if missing or not chosen:
        hint = "; the dev set is called valid" if "dev" in missing else ""
        raise PredictionError(
            f"{run.data} has no {' and no '.join(missing) or 'dev or test set'}; "
            f"it has {', '.join(there) or 'neither'}{hint}"
        )
    return chosen


def _check_complete(
    args: argparse.Namespace, runs: Iterable[PredictionRun], splits: dict[str, list[str]]
) -> None:
    from ..inference.predictor import PredictionError

    coming = set(read_submissions(args.output / SUBMISSIONS))
    for one in runs:
        glue = load_tasks().get(one.task)
        of_task = {} if glue is None else _submissions_of(glue)
        if glue is not None and not of_task.keys() & set(splits[one.task]):
            raise PredictionError(
                f"{one.data} has no test set for {one.task}'s file in {args.zip}; make the data "
                "with the official test.tsv"
            )
        coming |= {item.file_name for split, item in of_task.items() if split in splits[one.task]}
    missing = missing_submissions(coming)
    if missing and not args.fill_missing:
        raise SubmissionError(_what_is_missing(missing))


def _what_is_missing(missing: Sequence[str]) -> str:
    return (
        f"the GLUE server wants all eleven files, and there is no model for {', '.join(missing)}; "
        "give runs for them, or --fill-missing for files with the same prediction in every row"
    )


def _submissions_of(task: GlueTask) -> dict[str, Submission]:
    """Split -> the server's file."""
    return {item.file.split: item for item in all_submissions().values() if item.task == task}


def _write(
    output: Path, task: str, predictor: Predictor, scores: dict[str, Scores], *, strict: bool
) -> None:
    """Write one task's files; `strict`: the GLUE server's file must be among them."""
    from .predict_metrics import dev_metrics
    from .prediction_table import predictions_of, table_lines

    glue, scale = load_tasks().get(task), predictor.label_scale
    submissions = {} if glue is None else _submissions_of(glue)
    metrics = {}
    folder = output / task
    for split, one in scores.items():
        indices = predictor.indices(split) or [str(row) for row in range(len(one.outputs))]
        if len(indices) != len(one.outputs):
            raise SubmissionError(
                f"{predictor.data}: {len(indices)} indices for {len(one.outputs)} rows of {split}"
            )
        predictions = predictions_of(one, predictor.labels, scale)
        lines = table_lines(one, predictor.labels, indices, predictions, scale)
        _write_whole(folder / f"{split}.tsv", "".join(f"{line}\n" for line in lines))
        said = f"  {split:7} {len(indices):6} rows  "
        if one.targets is not None:
            metrics[split] = dev_metrics(one, predictor.labels)
            said += "  ".join(f"{name} {value:.4g}" for name, value in metrics[split].items())
        elif split in submissions:
            path = output / SUBMISSIONS / submissions[split].file_name
            path.unlink(missing_ok=True)  # an earlier model's
            try:
                _write_whole(path, submissions[split].text(predictions, indices))
                said += f"-> {path}"
            except SubmissionError as error:
                if strict:
                    raise
                said += f"no file for the GLUE server: {error}"
        print(said.rstrip())
    if metrics:
        _write_whole(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")


def _check_labels(glue: GlueTask, predictor: Predictor) -> None:
    if set(glue.labels) != set(predictor.labels):
        raise SubmissionError(
            f"{predictor.data} is not {glue.name}: its labels are "
            f"{', '.join(predictor.labels) or 'numbers'}, GLUE's "
            f"{', '.join(glue.labels) or 'numbers'}; name the task with TASK=RUN"
        )


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="\n")


def _pack(folder: Path, target: Path, *, fill_missing: bool) -> None:
    texts = read_submissions(folder)
    missing = missing_submissions(texts)
    if missing and not fill_missing:
        raise SubmissionError(_what_is_missing(missing))
    for name in missing:
        texts[name] = all_submissions()[name].constant_text()
    write_zip(texts, target)
    print(f"wrote {target}: {len(texts)} files, {len(missing)} of them without a model")
    for name in missing:
        constant = all_submissions()[name].task.constant
        print(f"WARNING: {name} is not a prediction: every row says {constant}", file=sys.stderr)
