"""The options of `tupe data task`: which rows, which columns, and the units of a pre-training."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..core.bounds import WORKERS, OneOf, Text
from .input_files import InputError
from .option_flags import flag_option, switch
from .unit_options import UnitOptions, UsageError

ALL = "ALL"
_OWN, _OTHER = "a task of your own, in GLUE_DIR/TASK (splits train, valid, test)", "other"
_COLUMN = Text(str, "the name of a column")


@dataclass(frozen=True)
class TaskOptions(UnitOptions):
    """All of them."""

    check: bool = switch(
        "compare columns and row counts with GLUE's official files; makes nothing", group=_OTHER
    )
    format: str = flag_option(
        "glue",
        OneOf(("glue", "tsv", "jsonl", "squad2")),
        "tsv: train.tsv, dev.tsv, test.tsv with a header line; jsonl: train.json, dev.json, "
        "test.json with an object on each line (as CLUE's); squad2: train-v2.0.json, "
        "dev-v2.0.json: is the question answerable from the text?",
        group=_OWN,
    )
    text_columns: str = flag_option(
        "",
        _COLUMN,
        "the columns or keys of the text, or of the pair's two texts",
        group=_OWN,
        metavar="A[,B]",
    )
    label_column: str = flag_option(
        "", _COLUMN, "the column or key of the label (label, if not given)", group=_OWN, metavar="L"
    )
    index_column: str = flag_option(
        "",
        _COLUMN,
        "the column or key that predictions of test rows are listed by",
        group=_OWN,
        metavar="I",
    )
    regression: bool = switch("labels are numbers", group=_OWN)
    skip_malformed: bool = switch(
        "drop and count malformed training rows (always so for QQP, whose official file has some); "
        "otherwise: stop and name file and line",
        group=_OTHER,
    )
    workers: int = flag_option(0, WORKERS, "processes (0: all cores)", group=_OTHER)


def check_task(options: TaskOptions, glue_dir: Path, task: str, output: Path) -> None:
    """Refuse options that do not go together, before anything is read.

    Raises:
        UsageError: the message says what to give.
        InputError: there is no such folder.
    """
    if os.path.lexists(output) and not output.is_dir():
        raise UsageError(f"OUT_DIR must be a folder, but {output} is a file")
    if not (options.data_bin or options.bpe_codes or options.vocab):
        raise UsageError(
            "give --data-bin, or --bpe-codes and --dict, or --tokenizer wordpiece and --vocab"
        )
    _check_columns(options)
    if options.format != "glue" and (task in ("", ".", "..", ALL) or "/" in task):
        raise UsageError("TASK must be a folder in GLUE_DIR")
    if not glue_dir.is_dir():
        raise InputError(f"no such folder: {glue_dir}")
    if options.format != "glue" and not (glue_dir / task).is_dir():
        raise InputError(f"no such folder: {glue_dir / task}")


def text_columns(options: TaskOptions) -> tuple[str, ...]:
    """The names of the columns of the text, or of the pair's two texts."""
    return ("", "") if options.format == "squad2" else tuple(options.text_columns.split(","))


def _check_columns(options: TaskOptions) -> None:
    given = (
        options.text_columns or options.label_column or options.index_column or options.regression
    )
    if options.format == "glue" and given:
        raise UsageError("columns and --regression are for --format tsv, jsonl, squad2")
    if options.format == "squad2" and given:
        raise UsageError("--format squad2 has its own columns")
    if options.format in ("tsv", "jsonl"):
        if not options.text_columns:
            raise UsageError(f"--format {options.format} needs --text-columns")
        names = text_columns(options)
        if len(names) > 2 or not all(names):
            raise UsageError("--text-columns names one column or two: A or A,B")
