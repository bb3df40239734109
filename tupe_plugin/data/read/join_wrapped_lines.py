"""Join lines that were broken at a fixed width (Project Gutenberg, e-mail) into paragraphs.

In such a text an empty line ends a paragraph; elsewhere it ends a document. So a
wrapped file, or the wrapped part of one, is one document.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

WIDEST = 120  # characters; nobody wraps at more
_FEWEST_PAIRS = 20  # of lines, to judge by
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*$")
_BROKEN_WORD = re.compile(r"[^\W\d_]-$")


def is_wrapped(lines: list[str]) -> bool:
    """Whether the lines, a few hundred, look broken at a fixed width."""
    return judge_lines(lines) is True


def judge_lines(lines: list[str]) -> bool | None:
    """Whether the lines look broken at a fixed width; None: they may be part of either text.

    The marks of a wrapped text: the next line's first word would not have fitted on this line, and
    few lines end where a sentence ends. A sentence a line, all of a length, lacks the second.
    """
    lengths = sorted(len(line) for line in lines if line)
    if not lengths:
        return None
    width = lengths[int(len(lengths) * 0.98)]  # a few lines may be longer: headings, tables
    if width > WIDEST:
        return False
    pairs = [
        (line.rstrip(), following)
        for line, following in pairwise(lines)
        if line.strip() and following.strip()
    ]
    if len(pairs) < _FEWEST_PAIRS:
        return None
    broken = sum(
        len(line) + 1 + len(following.split(maxsplit=1)[0]) > width - 2 for line, following in pairs
    )
    ended = sum(_SENTENCE_END.search(line) is not None for line, _ in pairs)
    if ended > 0.4 * len(pairs):
        return False
    return True if broken >= 0.7 * len(pairs) else None


def join_wrapped_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield paragraphs, one line each; a word broken by a hyphen is joined to `well-known`."""
    paragraph: list[str] = []
    for line in lines:
        words = line.split()
        if not words:
            if paragraph:
                yield " ".join(paragraph)
            paragraph = []
            continue
        if paragraph and _BROKEN_WORD.search(paragraph[-1]):
            # The hyphen stays: whether it belongs to the word, only a dictionary could say.
            words[0] = paragraph.pop() + words[0]
        paragraph += words
    if paragraph:
        yield " ".join(paragraph)
