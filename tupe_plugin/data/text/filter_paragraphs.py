"""Keep the paragraphs that are running text in the Latin alphabet; drop the rest, and say why.

A crude test of language and quality, on the letters alone. The limits are those of the original
TUPE preprocessing: at least 50 characters and 50 letters, 70 % letters (space counts as none), at
most 5 % `\\` (formulas) and 5 % `|` (tables).
"""

from __future__ import annotations

import string
from dataclasses import dataclass

_LETTERS = string.ascii_letters.encode()


@dataclass(frozen=True)
class Limits:
    """What a paragraph must have; the defaults are the original ones."""

    min_letters: int = 50
    max_characters: int = 1_000_000
    min_letter_share: float = 0.7
    max_mark_share: float = 0.05
    # A-Z and a-z only, which also tells English from Greek or Chinese; else those of any script.
    ascii_letters: bool = True


def fault_of(paragraph: str, limits: Limits) -> str | None:
    """Why the paragraph is not kept; None where it is."""
    size = len(paragraph)
    if size > limits.max_characters:
        return "too long"
    if limits.ascii_letters:
        ascii_text = paragraph.encode("ascii", errors="ignore")
        letters = len(ascii_text) - len(ascii_text.translate(None, _LETTERS))
    else:
        letters = sum(map(str.isalpha, paragraph))
    if letters < limits.min_letters:
        return "too short"
    if paragraph.count("|") > limits.max_mark_share * size or paragraph.startswith("|"):
        return "a table"
    if paragraph.count("\\") > limits.max_mark_share * size:
        return "a formula"
    if letters < limits.min_letter_share * size:
        return "too few letters"
    return None
