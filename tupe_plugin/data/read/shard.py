"""A part of a corpus, for several machines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """Every `of`-th document, from the `number`-th on (from 1)."""

    number: int = 1
    of: int = 1

    def has(self, document: int) -> bool:
        """Whether the document, counted from 0 over the whole corpus, is of this shard."""
        return document % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_shard(text: str) -> Shard:
    """`3/8` -> the third shard of eight.

    Raises:
        ValueError: not of this form, or not from 1 to 8.
    """
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise ValueError(f"a shard must be i/n with i from 1 to n, such as 3/8, not {text!r}")
    return Shard(int(number), int(of))
