"""Rows of a task: the lines that hold them, and what every reader of them gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .open_text import read_lines


class MalformedTableError(ValueError):
    """A table or a row that is not as it should be; the message names the file and the line."""


@dataclass(frozen=True)
class Example:
    """One or two texts and, where they are known, the label as written and the row's index."""

    inputs: tuple[str, ...]
    label: str | None
    index: str | None = None


def numbered_lines(path: Path) -> Iterator[tuple[str, str | MalformedTableError]]:
    """Yield each line with its place, `file:line`; one that is not UTF-8 as an error.

    Raises:
        UnreadableTextError: the file is a damaged archive.
    """
    invalid: list[int] = []
    for number, line in enumerate(read_lines(path, on_invalid=invalid.append), start=1):
        where = f"{path}:{number}"
        if invalid:
            yield where, MalformedTableError(f"{where}: {invalid.pop()} bytes are not UTF-8")
        else:
            yield where, line
