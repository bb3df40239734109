"""Compare GLUE files with the official ones: are all there, with the right columns and rows?

    python -m tupe_plugin.data.read.check_glue GLUE_DIR TASK...

prints a line for each file and makes nothing; the exit status is 1 if anything is off.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from ..glue_tasks import (
    GlueFile,
    GlueTask,
    UnknownTaskError,
    load_task,
    load_tasks,
)
from ..write.write_examples import MalformedTableError
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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("glue_dir", type=Path, metavar="GLUE_DIR")
    parser.add_argument("tasks", nargs="+", metavar="TASK", help="or ALL")
    args = parser.parse_args(arguments)
    try:
        names = list(load_tasks()) if args.tasks == ["ALL"] else args.tasks
        tasks = [load_task(name) for name in names]
    except UnknownTaskError as error:
        parser.exit(1, f"check_glue: {error}\n")
    num_files = sum(len(task.files) for task in tasks)
    num_off = 0
    for task in tasks:
        for line, off in check_task(args.glue_dir, task):
            sys.stdout.write(line + "\n")
            num_off += off
    if num_off:
        sys.stderr.write(
            f"check_glue: {num_off} of {num_files} files are missing or not the official ones\n"
        )
    return 1 if num_off else 0


if __name__ == "__main__":
    sys.exit(main())
