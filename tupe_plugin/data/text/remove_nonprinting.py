"""Replace what cannot be printed (Unicode category C: control, format, unassigned) by a space.

The rule of Moses' `remove-non-printing-char.perl`. It also removes a stray carriage return, which
fairseq would take for the end of a line.
"""

from __future__ import annotations

import regex

_NONPRINTING = regex.compile(r"\p{C}")


def remove_nonprinting(line: str) -> str:
    """`a<U+200B>b<TAB>c` -> `a b c`; the line has no newline."""
    return _NONPRINTING.sub(" ", line)
