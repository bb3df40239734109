"""A row of a task, as every reader of tables gives it."""

from __future__ import annotations

from dataclasses import dataclass


class MalformedTableError(ValueError):
    """A table or a row that is not as it should be; the message names the file and the line."""


@dataclass(frozen=True)
class Example:
    """One or two texts and, where they are known, the label as written and the row's index."""

    inputs: tuple[str, ...]
    label: str | None
    index: str | None = None
