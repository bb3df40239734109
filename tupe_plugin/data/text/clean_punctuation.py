"""Clean punctuation that typing and extraction left behind, before Moses' normalisation.

The rules are those that the original TUPE preprocessing meant (its patterns for spaces beside
punctuation never matched), and its removal of backslashes.
"""

from __future__ import annotations

import re

from .marked_rules import apply_rules, marked_rule
from .single_spaces import single_spaces

_RULES = [
    marked_rule(["\\"], re.compile(r"\\+"), " "),
    marked_rule(["...."], re.compile(r"\.{4,}"), "..."),
    marked_rule(["<<"], "<<", "«"),
    marked_rule([">>"], ">>", "»"),
    marked_rule([",,", ",."], re.compile(r",(?=[,.](?!\d))"), ""),  # not ",.5"
    marked_rule([" *"], re.compile(r"(?<=\s)\*+(?=\w)"), ""),
    # Only before a space or the end: ".5" and ":)" begin with a mark that belongs to them.
    marked_rule([" ,", " :", " .", " )", " ]", " »"], re.compile(r" +(?=[,:.)\]»](?: |$))"), ""),
    marked_rule(["( ", "[ ", "« "], re.compile(r"(?<=[\[(«]) +"), ""),
]


def clean_punctuation(line: str) -> str:
    """`so ,, he said ( then ) .....` -> `so, he said (then) ...`; one space between words."""
    line = single_spaces(line)
    cleaned = apply_rules(_RULES, line)
    return line if cleaned == line else single_spaces(cleaned)
