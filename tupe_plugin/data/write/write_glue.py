"""Write the rows of a GLUE task as the text files of `write_examples`."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from pathlib import Path

from ..glue_tasks import GlueFile, GlueTask
from ..read.examples import MalformedTableError
from ..read.read_glue import read_table
from .write_examples import Counts, write_label_dictionary, write_split


def write_glue_split(
    path: Path, file: GlueFile, task: GlueTask, output: Path, *, skip_malformed: bool
) -> Counts:
    """Write one split's texts, its labels where they are public, its indices where it is a test.

    Raises:
        MalformedTableError: a malformed row, unless it is a training row to be skipped.
    """
    parts = [f"input{place}" for place in range(len(file.inputs))]
    parts += ["index"] if file.label is None else ["label"]
    rows = read_table(path, file, task)
    return write_split(
        rows, output, file.split, parts=parts, source=path, skip_malformed=skip_malformed
    )


def ends_with_newline(path: Path) -> bool:
    """Whether the last line is whole; the official files all end so, a broken download seldom."""
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def write_glue(glue_dir: Path, task: GlueTask, output: Path, *, skip_malformed: bool) -> None:
    """Write all splits and the dictionary of labels; the report goes to standard error.

    Raises:
        MalformedTableError: a file or a row is not as it should be, or a test set is missing before
            one that is there, whose number in fairseq would then be another; a file is cut off.
    """
    tests = [(file, file.find(glue_dir / task.name)) for file in task.files if file.is_test]
    for (_, before), (_, after) in pairwise(tests):
        if after.exists() and not before.exists():
            raise MalformedTableError(f"{after} is there, but no {before}: add it, or remove both")
    for file in task.files:
        path = file.find(glue_dir / task.name)
        if file.is_test and not path.exists():
            sys.stderr.write(f"{task.name} {file.split}: no {path}, left out\n")
            continue
        skip = skip_malformed or task.skip_malformed
        counts = write_glue_split(path, file, task, output, skip_malformed=skip)
        if counts.rows + counts.dropped < file.rows and not ends_with_newline(path):
            raise MalformedTableError(
                f"{path} is cut off: its last line has no end, and it has {counts.rows} rows of "
                f"{file.rows}; download it again"
            )
        official = "" if counts.rows == file.rows else f" (the official file has {file.rows})"
        rows, separator, dropped = str(counts).partition(";")
        sys.stderr.write(f"{task.name} {file.split}: {rows}{official}{separator}{dropped}\n")
    if task.labels:
        write_label_dictionary(output, task.labels)
