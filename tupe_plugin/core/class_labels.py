"""What the labels of a classification task say: which are its classes, which one is positive.

fairseq sorts the labels of a task by frequency, so the number of a class tells nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .dictionary_symbols import MASK, PADDING

POSITIVE_LABELS = frozenset(
    {"1", "true", "yes", "positive", "acceptable", "entailment", "equivalent", "duplicate"}
)
"""In any letter case."""


def labels_of(dictionary: Any) -> list[str]:
    """The classes in fairseq's dictionary of labels, in order, without the symbols it adds."""
    return classes_among([dictionary[n] for n in range(dictionary.nspecial, len(dictionary))])


def classes_among(symbols: Sequence[str]) -> list[str]:
    """The same of the symbols that its file lists."""
    return [text for text in symbols if text != MASK and not text.startswith(PADDING)]


def positive_class(labels: Sequence[str]) -> int | None:
    """The number of the positive one of two classes; None if none or both are, or more than two."""
    positive = [place for place, text in enumerate(labels) if text.lower() in POSITIVE_LABELS]
    return positive[0] if len(labels) == 2 and len(positive) == 1 else None
