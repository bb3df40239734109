"""Cut a line of units that is too long for one training sample, if possible at a sentence end.

fairseq's `--sample-break-mode complete` never cuts a line, so that a line longer than
`--tokens-per-sample` would be refused; and paragraphs of books are often longer.
"""

from __future__ import annotations

_SENTENCE_ENDS = frozenset([".", "!", "?", "..."])
_CLOSING = frozenset(['"', "'", ")", "]"])


def split_long_line(line: str, *, max_tokens: int) -> str:
    """Pieces of at most `max_tokens` tokens, joined by newlines.

    Each cut is after the last sentence end that fits, else after the last whole word that fits,
    else (one word longer than `max_tokens`) in the middle of the word.
    """
    if len(line) < 2 * max_tokens:  # a token and a space each: no need to count them
        return line
    tokens = line.split()
    if len(tokens) <= max_tokens:
        return line
    pieces = []
    start = 0
    while len(tokens) - start > max_tokens:
        end = _last_cut(tokens, start, start + max_tokens)
        pieces.append(" ".join(tokens[start:end]))
        start = end
    pieces.append(" ".join(tokens[start:]))
    return "\n".join(pieces)


def _goes_on(unit: str, following: str) -> bool:
    """Whether the two are of one word, in BPE (`un@@ do`) or in WordPiece (`un ##do`)."""
    return unit.endswith("@@") or (following.startswith("##") and len(following) > 2)


def _last_cut(tokens: list[str], start: int, limit: int) -> int:
    last_word_end = limit
    found_word = False
    for end in range(limit, start, -1):
        previous = tokens[end - 1]
        if _goes_on(previous, tokens[end]) or tokens[end] in _CLOSING:
            continue
        if not found_word:
            last_word_end, found_word = end, True
        if previous in _SENTENCE_ENDS or (
            previous in _CLOSING and end - 2 >= start and tokens[end - 2] in _SENTENCE_ENDS
        ):
            return end
    return last_word_end
