"""Take the texts and labels out of one GLUE task's official TSV files.

`write/write_glue.py` makes files of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..glue_tasks import (
    GlueFile,
    GlueTask,
)
from .examples import Example, MalformedTableError
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
