"""Find the parts of a text file whose lines were broken at a fixed width: books come concatenated.

A file is judged in pieces of about a hundred lines, cut at empty lines. One piece alone is easily
wrong (a table of contents, a poem, a list of addresses): a new region needs several in a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from .join_wrapped_lines import WIDEST, is_wrapped, judge_lines

_LINES_TO_BEGIN_WITH = 1000
_LINES_OF_A_PIECE = 100
_MOST_LINES_OF_A_PIECE = 400  # where no empty line comes
_PIECES_IN_A_ROW = 3
_MOST_LINES_IN_DOUBT = 2000


def wrapped_regions(lines: Iterable[str]) -> Iterator[tuple[bool, list[str]]]:
    """Yield the lines in order, in pieces, each with whether its region is wrapped.

    The first thousand lines decide how the file begins; few thousand are in memory.
    """
    lines = iter(lines)
    first = list(islice(lines, _LINES_TO_BEGIN_WITH))
    wrapped = is_wrapped(first)
    held: list[str] = []  # lines that may be the start of another region
    against = 0  # pieces among them that say so
    for piece in _pieces(chain(first, lines)):
        verdict = judge_lines(piece)
        against += verdict is (not wrapped)
        held += piece
        if against == _PIECES_IN_A_ROW:
            before, held = _split_before_wide(held) if wrapped else ([], held)
            if before:
                yield wrapped, before
            wrapped = not wrapped
        elif against and verdict is not wrapped and len(held) < _MOST_LINES_IN_DOUBT:
            continue
        settled, held = (held, []) if wrapped else _split_behind_wide(held)
        against = 0
        yield wrapped, settled
    if held:
        yield wrapped, held


def _split_before_wide(lines: list[str]) -> tuple[list[str], list[str]]:
    """Behind the last empty line before the first that is too wide for a wrapped text."""
    wide = next((index for index, line in enumerate(lines) if len(line) > WIDEST), 0)
    cut = next((index for index in range(wide, 0, -1) if not lines[index - 1].strip()), 0)
    return lines[:cut], lines[cut:]


def _split_behind_wide(lines: list[str]) -> tuple[list[str], list[str]]:
    """Behind the first empty line after the last that is too wide; with none, all are before it."""
    after = next((n for n, line in enumerate(reversed(lines)) if len(line) > WIDEST), 0)
    start = len(lines) - after
    cut = next((n + 1 for n in range(start, len(lines)) if not lines[n].strip()), len(lines))
    return lines[:cut], lines[cut:]


def _pieces(lines: Iterable[str]) -> Iterator[list[str]]:
    piece: list[str] = []
    for line in lines:
        piece.append(line)
        is_empty = not line or line.isspace()
        if len(piece) >= (_LINES_OF_A_PIECE if is_empty else _MOST_LINES_OF_A_PIECE):
            yield piece
            piece = []
    if piece:
        yield piece
