"""Read columns of a tab-separated table: by the header's names, or by position without a header.

Fields are never quoted: a `"` is a character like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .examples import MalformedTableError, numbered_lines


def pick_columns(
    path: Path, columns: Sequence[str | int], *, header: bool, optional: Sequence[str] = ()
) -> Iterator[tuple[str, list[str | None]] | MalformedTableError]:
    """Yield each row's place (`file:line`) and its fields, a malformed row as its error.

    An `optional` column, which stands after `columns`, is None where the header lacks it. Empty
    lines are left out.

    Raises:
        MalformedTableError: the file is empty, or the header lacks a column, has one twice or is
            not UTF-8.
    """
    lines = numbered_lines(path)
    places: list[int | None]
    if header:
        _, first = next(lines, ("", ""))
        if isinstance(first, MalformedTableError):
            raise first
        if not first:
            raise MalformedTableError(f"{path}:1: no header; is the download complete?")
        names = first.split("\t")
        missing = [str(column) for column in columns if column not in names]
        if missing:
            raise MalformedTableError(
                f"{path}:1: no column {', '.join(map(repr, missing))} in the header; found "
                f"{', '.join(map(repr, names))}"
            )
        twice = [str(c) for c in (*columns, *optional) if names.count(str(c)) > 1]
        if twice:
            raise MalformedTableError(f"{path}:1: the column {twice[0]!r} is there twice")
        places = [
            names.index(str(column)) if column in names else None
            for column in (*columns, *optional)
        ]
        num_fields = len(names)
    else:
        places = [*(int(column) for column in columns), *(None for _ in optional)]
        num_fields = max(place for place in places if place is not None) + 1
    for where, line in lines:
        if isinstance(line, MalformedTableError):
            yield line
            continue
        if not line:
            continue
        fields = line.split("\t")
        if len(fields) != num_fields:
            yield MalformedTableError(f"{where}: {len(fields)} fields instead of {num_fields}")
            continue
        yield where, [None if place is None else fields[place] for place in places]
