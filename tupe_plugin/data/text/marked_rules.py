"""Rules of replacement that are tried only where they can change the line.

A mark is a text that is in everything that a rule replaces. To look for its rarest character costs
a hundredth of a search by the rule, and most rules change no line of a corpus.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class MarkedRule(NamedTuple):
    marks: tuple[tuple[str, str], ...]
    """Characters and the marks that they are of, one of which a line must hold."""
    pattern: re.Pattern[str] | str
    """A text is replaced as it is."""
    replacement: str


def marked_rule(
    marks: Iterable[str], pattern: re.Pattern[str] | str, replacement: str
) -> MarkedRule:
    """A rule with its marks; the empty mark is in every line."""
    return MarkedRule(tuple((_rarest(mark), mark) for mark in marks), pattern, replacement)


def apply_rules(rules: Iterable[MarkedRule], line: str) -> str:
    """The line after all rules, one after the other."""
    for marks, pattern, replacement in rules:
        for character, mark in marks:
            if character in line and mark in line:
                if isinstance(pattern, str):
                    line = line.replace(pattern, replacement)
                else:
                    line = pattern.sub(replacement, line)
                break
    return line


def _rarest(mark: str) -> str:
    return min(mark, key=lambda c: (c.isascii(), c.isspace(), c in ".,"), default="")
