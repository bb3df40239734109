"""Moses punctuation normalisation for English: one kind of quote, dash and space.

The rules are sacremoses' port of Moses' `normalize-punctuation.perl`, in its Perl-parity form.
Deviation from `MosesPunctNormalizer.normalize`: it also strips the line, which the Perl script
does not; we apply its rules one by one and leave the ends of the line alone.
"""

from __future__ import annotations

import re
from functools import cache

from sacremoses import MosesPunctNormalizer


@cache
def _rules() -> list[tuple[re.Pattern[str], str]]:
    normalizer = MosesPunctNormalizer(lang="en", perl_parity=True)
    return [(re.compile(pattern), replacement) for pattern, replacement in normalizer.substitutions]


def normalize_punctuation(line: str) -> str:
    """`“It’s” (so) …` -> `"It's" (so)...`; the line has no newline."""
    for pattern, replacement in _rules():
        line = pattern.sub(replacement, line)
    return line
