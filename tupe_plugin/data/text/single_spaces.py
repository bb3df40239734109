"""One space between words, and none at the ends of a line."""

from __future__ import annotations


def single_spaces(line: str) -> str:
    """`" ".join(line.split())`, sooner: in a corpus most lines are so already."""
    # Of white space only the space can be printed.
    if line.isprintable() and "  " not in line and line[:1] != " " and line[-1:] != " ":
        return line
    return " ".join(line.split())
