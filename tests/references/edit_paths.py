"""Naive edits between two sentences, to hold `fairseq.libnat`'s stand-in against."""

from __future__ import annotations

from functools import cache

Words = tuple[int, ...]


@cache
def distance(x: Words, y: Words) -> int:
    """Insertions and deletions that make x y."""
    if not x or not y:
        return len(x) + len(y)
    if x[-1] == y[-1]:
        return distance(x[:-1], y[:-1])
    return 1 + min(distance(x[:-1], y), distance(x, y[:-1]))


def edits(x: Words, y: Words) -> list[tuple[str, int]]:
    """From the first word on; going backwards, to insert is preferred, then to delete."""
    if y and distance(x, y[:-1]) < distance(x, y):
        return [*edits(x, y[:-1]), ("insert", y[-1])]
    if x and distance(x[:-1], y) < distance(x, y):
        return [*edits(x[:-1], y), ("delete", x[-1])]
    return [*edits(x[:-1], y[:-1]), ("keep", x[-1])] if x else []
