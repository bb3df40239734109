"""Lower-case: the models here are uncased, like the authors'."""

from __future__ import annotations


def lowercase_text(line: str) -> str:
    """`The URL <URL>` -> `the url <url>`."""
    return line.lower()
