"""Compare GLUE files with the official ones: are all there, with the right columns and rows?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ..glue_tasks import (
    GlueFile,
    GlueTask,
    load_task,
    load_tasks,
)
from .examples import MalformedTableError
from .open_text import UnreadableTextError
from .read_glue import read_table


def check_file(path: Path, file: GlueFile, task: GlueTask) -> tuple[int, list[str]]:
    """The number of good rows, and what is off, a phrase each."""
    if not path.exists():
        return 0, [f"no such file{task.advice(path.parent)}"]
    rows = malformed = 0
    first_malformed = ""
    indices: list[str | None] = []
    try:
        for row in read_table(path, file, task):
            if isinstance(row, MalformedTableError):
                malformed += 1
                first_malformed = first_malformed or str(row)
            else:
                rows += 1
                indices.append(row.index)
    except (MalformedTableError, UnreadableTextError, OSError) as error:
        return rows, [str(error)]
    off = []
    if rows != file.rows:
        kind = "missing: an incomplete download?" if rows < file.rows else "too many: another form?"
        off.append(f"the official file has {file.rows}, {abs(rows - file.rows)} are {kind}")
    if malformed and not (file.split == "train" and task.skip_malformed):
        off.append(f"{malformed} malformed, first {first_malformed}")
    if file.is_test and indices[:1] not in ([], [None]):
        wrong = next((n for n, index in enumerate(indices) if index != str(n)), None)
        if wrong is not None:
            off.append(f"row {wrong} has {file.index} {indices[wrong]!r}, the official one {wrong}")
    return rows, off


def check_task(glue_dir: Path, task: GlueTask) -> Iterator[tuple[str, int]]:
    """A line for each file, and 1 if the file is wrong; one line for all if there is no folder."""
    folder = glue_dir / task.name
    if not folder.is_dir():
        yield f"{task.name:6} no such folder: {folder}{task.advice(folder)}", len(task.files)
        return
    for file in task.files:
        path = file.find(glue_dir / task.name)
        rows, off = check_file(path, file, task)
        size = f"{rows:7} rows" if path.exists() else " " * 12
        yield f"{task.name:6} {path.name:20} {size}  {'; '.join(off) or 'ok'}", bool(off)


def check_glue(glue_dir: Path, name: str) -> int:
    """Print a line for each file of a task, or of ALL; returns how many are not as they should be.

    Raises:
        UnknownTaskError: there is no such task.
        FileNotFoundError: there is no such folder.
    """
    if not glue_dir.is_dir():
        raise FileNotFoundError(f"no such folder: {glue_dir}")
    tasks = list(load_tasks().values()) if name == "ALL" else [load_task(name)]
    num_off = 0
    for task in tasks:
        for line, off in check_task(glue_dir, task):
            sys.stdout.write(line + "\n")
            num_off += off
    if num_off:
        num_files = sum(len(task.files) for task in tasks)
        sys.stderr.write(
            f"check_glue: {num_off} of {num_files} files are missing or not the official ones\n"
        )
    return num_off
