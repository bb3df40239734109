"""Steps in a row: a raw sentence in, the units that the model reads out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..core.dictionary_symbols import MASK

LineStep = Callable[[list[str]], list[str]]
"""Lines in, as many lines out."""
_STAND_IN = "</s>"  # a word that no step cuts and no sentence has
_KEEPS_STAND_INS = "apply_bpe"


class TextTreatment:
    """`treatment(sentences)` -> their units, separated by spaces.

    Args:
        steps: by name, in order.
        spelled: unit -> how people read it, where that differs, as of GPT-2's numbers.
    """

    def __init__(
        self, steps: Mapping[str, LineStep], spelled: Mapping[str, str] | None = None
    ) -> None:
        self._steps = dict(steps)
        self._spelled = spelled or {}

    def __call__(self, sentences: list[str]) -> list[str]:
        lines = [sentence.replace("\n", " ") for sentence in sentences]
        for step in self._steps.values():
            lines = step(lines)
        return lines

    def readable(self, unit: str) -> str:
        """A unit of the dictionary as people read it."""
        return self._spelled.get(unit, unit)

    def around_masks(self, sentence: str) -> str:
        """The units of a sentence in which each `<mask>` stays one unit."""
        if _KEEPS_STAND_INS in self._steps and _STAND_IN not in sentence:
            # In one piece: Moses looks at what comes before and after.
            for spelled in (_STAND_IN, f" {_STAND_IN} "):
                units = self([sentence.replace(MASK, spelled)])[0].split()
                if units.count(_STAND_IN) == sentence.count(MASK):  # not glued to a word
                    break
            return " ".join(MASK if unit == _STAND_IN else unit for unit in units)
        # WordPiece cuts at a mask, as BERT does; GPT-2's BPE too, where RoBERTa has no space.
        *before, last = sentence.split(MASK)
        return f" {MASK} ".join(self([*(part.rstrip() for part in before), last]))
