"""Take the texts and labels out of one GLUE task's official TSV files.

    python -m tupe_plugin.data.read.read_glue GLUE_DIR TASK --output DIR [--skip-malformed]

writes the files of `write_examples`. `python -m tupe_plugin.data.read.read_glue --list` prints the
tasks, `--files GLUE_DIR TASK` the files of a task that are there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from ..glue_tasks import (
    GlueFile,
    GlueTask,
    UnknownTaskError,
    load_task,
    load_tasks,
)
from ..write.write_examples import (
    Counts,
    Example,
    MalformedTableError,
    write_label_dictionary,
    write_split,
)
from .open_text import UnreadableTextError
from .pick_columns import pick_columns


def read_table(
    path: Path, file: GlueFile, task: GlueTask
) -> Iterator[Example | MalformedTableError]:
    """Yield every row; a malformed one as the error that describes it.

    Raises:
        MalformedTableError: the header lacks a column.
    """
    columns = [*file.inputs, *([] if file.label is None else [file.label])]
    optional = [] if file.index is None else [file.index]
    for row in pick_columns(path, columns, header=file.header, optional=optional):
        if isinstance(row, MalformedTableError):
            yield row
            continue
        where, values = row
        inputs = tuple(str(value) for value in values[: len(file.inputs)])
        if file.label is None:
            yield Example(inputs, None, values[-1] if optional else None)
            continue
        try:
            label = task.label_for_fairseq(str(values[len(file.inputs)]))
        except ValueError as error:
            yield MalformedTableError(f"{where}: {error}")
        else:
            yield Example(inputs, label)


def extract_split(
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


def list_files(glue_dir: Path, task: GlueTask) -> list[Path]:
    """The files that make the task's data: all of train and dev, the test sets that are there.

    Raises:
        FileNotFoundError: train or dev is missing.
    """
    folder = glue_dir / task.name
    paths = [(file, file.find(folder)) for file in task.files]
    for file, path in paths:
        if not file.is_test and not path.exists():
            raise FileNotFoundError(f"no such file: {path}{task.advice(folder)}")
    return [path for file, path in paths if not file.is_test or path.exists()]


def extract_task(glue_dir: Path, task: GlueTask, output: Path, *, skip_malformed: bool) -> None:
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
        counts = extract_split(path, file, task, output, skip_malformed=skip)
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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("glue_dir", nargs="?", type=Path, metavar="GLUE_DIR")
    parser.add_argument("task", nargs="?", metavar="TASK")
    work = parser.add_mutually_exclusive_group(required=True)
    work.add_argument("--output", type=Path, metavar="DIR", help="write the examples there")
    work.add_argument("--list", action="store_true", help="print the names of all tasks")
    work.add_argument("--files", action="store_true", help="print the task's files")
    parser.add_argument("--skip-malformed", action="store_true")
    args = parser.parse_args(arguments)
    if args.list:
        sys.stdout.write("\n".join(load_tasks()) + "\n")
        return 0
    if args.task is None:
        parser.error("give GLUE_DIR and TASK")
    try:
        task = load_task(args.task)
        if args.files:
            sys.stdout.writelines(f"{path}\n" for path in list_files(args.glue_dir, task))
        else:
            extract_task(args.glue_dir, task, args.output, skip_malformed=args.skip_malformed)
    except (MalformedTableError, UnknownTaskError, UnreadableTextError, OSError) as error:
        parser.exit(1, f"read_glue: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
