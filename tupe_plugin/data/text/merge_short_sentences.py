"""Join sentences of a few words to their neighbours: fairseq ends every line with `</s>`.

"Yes. No." as lines of their own would fill a sample with separators.
"""

from __future__ import annotations


def merge_short_sentences(
    lines: list[str], *, min_words: int = 5, max_words: int = 250
) -> list[str]:
    """Consecutive sentences of one document, none of fewer than `min_words` words where possible.

    A short sentence joins the one before it, the first one that after it, unless the two would
    have more than `max_words` words. Words are those between spaces: the lines are tokenised.
    """
    merged: list[str] = []
    sizes: list[int] = []
    for line in lines:
        size = len(line.split())
        is_short = bool(sizes) and min(size, sizes[-1]) < min_words
        if is_short and sizes[-1] + size <= max_words:
            merged[-1] += " " + line
            sizes[-1] += size
        else:
            merged.append(line)
            sizes.append(size)
    return merged
