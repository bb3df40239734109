"""Clean punctuation that typing and extraction left behind, before Moses' normalisation.

The rules are those that the original TUPE preprocessing meant (its patterns for spaces beside
punctuation never matched), and its removal of backslashes.
"""

from __future__ import annotations

import re

_RULES = [
    (re.compile(r"\\+"), " "),
    (re.compile(r"\.{4,}"), "..."),
    (re.compile(r"<<"), "«"),
    (re.compile(r">>"), "»"),
    (re.compile(r",(?=[,.](?!\d))"), ""),  # ",," and ",."; not ",.5"
    (re.compile(r"(?<=\s)\*+(?=\w)"), ""),
    # Only before a space or the end: ".5" and ":)" begin with a mark that belongs to them.
    (re.compile(r"(?<=\S)\s+(?=[,:.)\]»](?:\s|$))"), ""),
    (re.compile(r"(?<=[\[(«])\s+"), ""),
    (re.compile(r"\s+"), " "),
]


def clean_punctuation(line: str) -> str:
    """`so ,, he said ( then ) .....` -> `so, he said (then)...`; one space between words."""
    for pattern, replacement in _RULES:
        line = pattern.sub(replacement, line)
    return line.strip()
