"""Take the texts and labels out of one GLUE task's official TSV files.

    python -m preprocess.filters.read_glue GLUE_DIR TASK --output DIR [--skip-malformed]

writes `DIR/<split>.input0`, `.input1` (pairs only), `.label` (where labels are public), one row a
line, and for classification `DIR/label.dict.txt`, fairseq's dictionary of the class names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from preprocess.filters.glue_tasks import GlueFile, GlueTask, UnknownTaskError, load_task
from preprocess.filters.open_text import read_lines


class MalformedTableError(Exception):
    """A table or a row that is not as it should be; the message names the file and the line."""


@dataclass(frozen=True)
class Row:
    """One example: one or two texts and, where it is public, its label as written."""

    inputs: tuple[str, ...]
    label: str | None


def read_table(path: Path, file: GlueFile, task: GlueTask) -> Iterator[Row | MalformedTableError]:
    """Yield every row; a malformed one as the error that describes it.

    Fields are separated by tabs and never quoted: a `"` is a character like any other.

    Raises:
        MalformedTableError: the header lacks a column.
    """
    lines = enumerate(read_lines(path), start=1)
    columns = [*file.inputs, *([] if file.label is None else [file.label])]
    if file.header:
        _, first = next(lines, (1, ""))
        names = first.split("\t")
        missing = [str(column) for column in columns if column not in names]
        if missing:
            raise MalformedTableError(
                f"{path}:1: no column {', '.join(map(repr, missing))} in the header; found "
                f"{', '.join(map(repr, names))}"
            )
        places = [names.index(str(column)) for column in columns]
        num_fields = len(names)
    else:
        places = [int(column) for column in columns]
        num_fields = max(places) + 1
    for number, line in lines:
        if line:
            yield _parse_row(f"{path}:{number}", line.split("\t"), places, num_fields, file, task)


def _parse_row(
    where: str,
    fields: list[str],
    places: list[int],
    num_fields: int,
    file: GlueFile,
    task: GlueTask,
) -> Row | MalformedTableError:
    if len(fields) != num_fields:
        return MalformedTableError(f"{where}: {len(fields)} fields instead of {num_fields}")
    values = [fields[place] for place in places]
    inputs = values[: len(file.inputs)]
    if file.label is None:
        return Row(tuple(inputs), None)
    try:
        return Row(tuple(inputs), task.label_for_fairseq(values[-1]))
    except ValueError as error:
        return MalformedTableError(f"{where}: {error}")


@dataclass(frozen=True)
class Counts:
    """How many rows of a file were taken and how many malformed ones were dropped."""

    rows: int
    dropped: int
    first_dropped: str


def extract_split(
    path: Path, file: GlueFile, task: GlueTask, output: Path, *, skip_malformed: bool
) -> Counts:
    """Write one split's texts and labels.

    Raises:
        MalformedTableError: a malformed row, unless it is a training row to be skipped.
    """
    names = [f"input{index}" for index in range(len(file.inputs))]
    names += [] if file.label is None else ["label"]
    sinks = [
        open(output / f"{file.split}.{name}", "w", encoding="utf-8", newline="\n")  # noqa: SIM115
        for name in names
    ]
    rows = dropped = 0
    first_dropped = ""
    try:
        for row in read_table(path, file, task):
            if isinstance(row, MalformedTableError):
                # Rows that are scored must all be there, in order: only training rows can go.
                if not (skip_malformed and file.split == "train"):
                    raise row
                dropped += 1
                first_dropped = first_dropped or str(row)
                continue
            values = [*row.inputs, *([] if row.label is None else [row.label])]
            for sink, value in zip(sinks, values, strict=True):
                sink.write(value + "\n")
            rows += 1
    finally:
        for sink in sinks:
            sink.close()
    return Counts(rows, dropped, first_dropped)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("glue_dir", type=Path, metavar="GLUE_DIR")
    parser.add_argument("task", metavar="TASK")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--skip-malformed", action="store_true")
    args = parser.parse_args(arguments)
    try:
        task = load_task(args.task)
        for file in task.files:
            path = args.glue_dir / task.name / file.name
            if file.split.startswith("test") and not path.exists():
                sys.stderr.write(f"{task.name} {file.split}: no {path}, left out\n")
                continue
            counts = extract_split(
                path,
                file,
                task,
                args.output,
                skip_malformed=args.skip_malformed or task.skip_malformed,
            )
            sys.stderr.write(f"{task.name} {file.split}: {counts.rows} rows")
            if counts.rows != file.rows:
                sys.stderr.write(f" (the official file has {file.rows})")
            if counts.dropped:
                sys.stderr.write(f"; {counts.dropped} dropped, first {counts.first_dropped}")
            sys.stderr.write("\n")
        if task.labels:
            (args.output / "label.dict.txt").write_text(
                "".join(f"{label} 1\n" for label in task.labels), encoding="utf-8"
            )
    except (MalformedTableError, UnknownTaskError, OSError) as error:
        parser.exit(1, f"read_glue: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
