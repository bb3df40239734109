"""Clean punctuation that typing and extraction left behind, before Moses' normalisation.

The rules are those that the original TUPE preprocessing meant (its patterns for spaces beside
punctuation never matched), and its removal of backslashes.
"""

from __future__ import annotations

import re

# Marks without one of which a rule cannot apply, the rule, what takes the place of what it finds.
# A search for the marks costs a hundredth of a search by the rule.
_RULES = [
    (("\\",), re.compile(r"\\+"), " "),
    (("....",), re.compile(r"\.{4,}"), "..."),
    (("<<",), re.compile(r"<<"), "«"),
    ((">>",), re.compile(r">>"), "»"),
    ((",,", ",."), re.compile(r",(?=[,.](?!\d))"), ""),  # not ",.5"
    ((" *",), re.compile(r"(?<=\s)\*+(?=\w)"), ""),
    # Only before a space or the end: ".5" and ":)" begin with a mark that belongs to them.
    ((" ,", " :", " .", " )", " ]", " »"), re.compile(r" +(?=[,:.)\]»](?: |$))"), ""),
    (("( ", "[ ", "« "), re.compile(r"(?<=[\[(«]) +"), ""),
]


def clean_punctuation(line: str) -> str:
    """`so ,, he said ( then ) .....` -> `so, he said (then) ...`; one space between words."""
    line = " ".join(line.split())
    for marks, rule, replacement in _RULES:
        if any(mark in line for mark in marks):
            line = rule.sub(replacement, line)
    return " ".join(line.split())
