"""Rows of raw text -> the ids that a model reads, as the data sets of its training give them.

--task sentence_prediction   [--init-token] A </s> [[--separator-token] B </s>]
--task masked_lm             <s> A </s> [B </s>]
an imported RoBERTa, MPNet   <s> A </s> [</s> B </s>]
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import torch
from torch import Tensor

from ..core.dictionary_symbols import MASK
from ..data.treatment import TextTreatment
from .text_errors import RowError, TextError

logger = logging.getLogger(__name__)

Row = str | tuple[str, str]
"""A sentence, or a pair of sentences."""
_LINES = 1_000  # go through the steps at once, between two moves of the progress bar


def checked_rows(rows: str | Iterable[Row]) -> list[tuple[str, ...]]:
    """Each row as a tuple of one sentence or two; a lone string is one row.

    Raises:
        TextError: a row is something else, or it is not clear what is meant.
    """
    if isinstance(rows, tuple) and len(rows) == 2 and all(isinstance(row, str) for row in rows):
        raise TextError("give [(a, b)] for a pair of sentences, and [a, b] for two rows")
    if not isinstance(rows, Iterable) or isinstance(rows, bytes | Mapping | Set):
        raise TextError(f"give a sentence or a list of rows, not {rows!r:.80}")
    checked: list[tuple[str, ...]] = []
    for number, row in enumerate([rows] if isinstance(rows, str) else rows, start=1):
        sentences = (row,) if isinstance(row, str) else row
        if (
            not isinstance(sentences, tuple | list)
            or len(sentences) not in (1, 2)
            or not all(isinstance(sentence, str) for sentence in sentences)
        ):
            raise RowError(number, f"give a sentence, or a pair of sentences, not {row!r:.80}")
        checked.append(tuple(sentences))
    return checked


class RowEncoder:
    """`encoder(rows)` -> ids of each row, cut at the longest sequence that the model reads.

    Args:
        task: fairseq's, of the model.
        treatment: what the text of its data went through.
        max_positions: tokens.
        separators: between the texts of a pair, where the task does not say.
    """

    def __init__(
        self, task: Any, treatment: TextTreatment, *, max_positions: int, separators: int
    ) -> None:
        self.dictionary = task.source_dictionary
        self._treatment = treatment
        self._max_positions = max_positions
        of_sentences = hasattr(task.cfg, "init_token")
        self._first = task.cfg.init_token if of_sentences else self.dictionary.bos()
        own = self.dictionary.eos() if separators == 2 else None
        self._separator = task.cfg.separator_token if of_sentences else own

    def units(self, sentence: str) -> list[str]:
        """What a sentence is cut into, whether the dictionary has it or not."""
        return [self._treatment.readable(unit) for unit in self._treatment([sentence])[0].split()]

    def symbol(self, number: int) -> str:
        """The unit of an id."""
        return self._treatment.readable(self.dictionary[number])

    def __call__(self, rows: Sequence[tuple[str, ...]]) -> list[Tensor]:
        """Ids `(tokens,)` of each row."""
        from tqdm import tqdm

        sentences = [sentence for row in rows for sentence in row]
        numbers: list[list[int]] = []
        with tqdm(total=len(sentences), desc="text", disable=None, leave=False) as progress:
            for start in range(0, len(sentences), _LINES):
                lines = self._treatment(sentences[start : start + _LINES])
                numbers += map(self._numbers, lines)
                progress.update(len(lines))
        in_order = iter(numbers)
        joined = [self._joined([next(in_order) for _ in row]) for row in rows]
        longer = sum(len(ids) > self._max_positions for ids in joined)
        if longer:
            logger.warning(
                "%s of %s rows are longer than the %s tokens that the model reads: their ends are "
                "cut, as by `tupe predict`",
                *(f"{longer:,}", f"{len(rows):,}", f"{self._max_positions:,}"),
            )
        return [ids[: self._max_positions] for ids in joined]

    def masked(self, rows: Sequence[tuple[str, ...]]) -> list[Tensor]:
        """The same of single sentences with one `<mask>`, which becomes one token.

        Raises:
            RowError: a row is a pair, or has no `<mask>`, several, or one that would be cut off.
        """
        for number, row in enumerate(rows, start=1):
            if len(row) != 1 or row[0].count(MASK) != 1:
                given = row[0] if len(row) == 1 else row
                raise RowError(number, f"give one sentence with one {MASK}, not {given!r:.80}")
        lines = [self._treatment.around_masks(sentence) for (sentence,) in rows]
        ids = [self._joined([self._numbers(line)])[: self._max_positions] for line in lines]
        mask = self.dictionary.index(MASK)
        for number, one in enumerate(ids, start=1):
            if mask not in one:
                raise RowError(
                    number,
                    f"its {MASK} comes after the {self._max_positions} tokens that the model reads",
                )
        return ids

    def _numbers(self, line: str) -> list[int]:
        unknown = self.dictionary.unk()
        numbers = [self.dictionary.indices.get(unit, unknown) for unit in line.split()]
        return [*numbers, self.dictionary.eos()]

    def _joined(self, sentences: Sequence[list[int]]) -> Tensor:
        ids = [] if self._first is None else [self._first]
        for place, sentence in enumerate(sentences):
            if place and self._separator is not None:
                ids.append(self._separator)
            ids += sentence
        return torch.tensor(ids)
