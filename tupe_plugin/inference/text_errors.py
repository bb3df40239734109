"""What a model cannot be asked of raw text."""

from __future__ import annotations


class TextError(ValueError):
    """What the model cannot be asked; the message says why."""


class RowError(TextError):
    """A row that the model cannot be asked about.

    Args:
        number: of the row, from 1.
        problem: what is wrong with it.
    """

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(f"row {number}: {problem}")
        self.number, self.problem = number, problem
