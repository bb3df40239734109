"""Moses punctuation normalisation for English: one kind of quote, dash and space.

The rules are sacremoses' port of Moses' `normalize-punctuation.perl`, in its Perl-parity form.
Deviation from `MosesPunctNormalizer.normalize`: it also strips the line, which the Perl script
does not; we apply its rules one by one and leave the ends of the line alone.
"""

from __future__ import annotations

import re
from functools import cache

from sacremoses import MosesPunctNormalizer

from .marked_rules import MarkedRule, apply_rules, marked_rule

_SPACES = " +"  # replaced by one
_GROUP = re.compile(r"(?<!\\)\(.*?(?<!\\)\)")
_ESCAPED = re.compile(r"\\(\W)")
_NOT_LITERAL = re.compile(r"[][(){}.^$*+?|\\]")


def normalize_punctuation(line: str) -> str:
    """`“It’s” (so) …` -> `"It's" (so)...`; the line has no newline."""
    return apply_rules(_rules(only_ascii=line.isascii()), line)


@cache
def _rules(*, only_ascii: bool) -> list[MarkedRule]:
    """All of them, or those that a line of ASCII can need; in order."""
    normalizer = MosesPunctNormalizer(lang="en", perl_parity=True)
    return [
        marked_rule([mark], _literal(pattern) or re.compile(pattern), replacement)
        for pattern, replacement in normalizer.substitutions
        if (mark := _mark(pattern)).isascii() or not only_ascii
    ]


def _mark(pattern: str) -> str:
    """The longest text that is in everything that the pattern changes."""
    if pattern == _SPACES:
        return "  "
    return max(map(_literal, _GROUP.split(pattern)), key=len)


def _literal(pattern: str) -> str:
    """What a pattern matches that only matches one text; nothing for others."""
    if _NOT_LITERAL.search(_ESCAPED.sub("", pattern.replace(r"\r", ""))):
        return ""
    return _ESCAPED.sub(r"\1", pattern.replace(r"\r", "\r"))
