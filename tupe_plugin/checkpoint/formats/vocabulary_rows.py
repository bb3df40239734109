"""Rows of a vocabulary: of which of their tokens each symbol of fairseq's dictionary is."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor

from ...core.dictionary_symbols import FAIRSEQ_SYMBOLS, MASK, PADDING
from ..errors import UnusableCheckpointError
from .our_names import ENCODER, LM_HEAD

_COLUMNS = 32
"""Of a matrix, that are copied at once."""


def symbols_and_rows(
    specials: Mapping[str, str], tokens: list[str], rows: int, path: object
) -> tuple[list[str], list[int]]:
    """What the dictionary of fairseq lists, and where each symbol's row is in their vocabulary.

    fairseq has four symbols of its own in front, and its tasks add the mask at the end.

    Args:
        specials: fairseq's symbol -> theirs.
        tokens: theirs, in the order of their ids.
        rows: of their embedding; those without a token become `madeupword0000` ...
        path: for errors.

    Raises:
        UnusableCheckpointError: a special symbol is missing, or there are too many tokens.
    """
    if len(tokens) > rows:
        raise UnusableCheckpointError(
            f"{path}: the tokenizer has {len(tokens):,} tokens, and the model rows for {rows:,}"
        )
    ids = {token: row for row, token in enumerate(tokens)}
    missing = [token for token in specials.values() if token not in ids]
    if missing:
        raise UnusableCheckpointError(f"{path}: the tokenizer has no {missing[0]}")
    made_up = (f"{PADDING}{number:04d}" for number in itertools.count())
    free = (name for name in made_up if name not in ids)
    named = [*tokens, *itertools.islice(free, rows - len(tokens))]
    special = {ids[token] for token in specials.values()}
    units = [row for row in range(rows) if row not in special]
    taken = {*FAIRSEQ_SYMBOLS, MASK}
    names = [f"[other:{named[row]}]" if named[row] in taken else named[row] for row in units]
    first = [ids[specials[symbol]] for symbol in FAIRSEQ_SYMBOLS]
    return names, [*first, *units, ids[specials[MASK]]]


def take_rows(state: dict[str, Tensor], rows: Tensor, path: object) -> None:
    """Put the embedding and the bias of the masked-LM head into another order, in place."""
    in_order = torch.equal(rows, torch.arange(len(rows)))
    for key in (f"{ENCODER}embed_tokens.weight", f"{LM_HEAD}bias"):
        if key not in state:
            continue
        if len(state[key]) != len(rows):
            raise UnusableCheckpointError(
                f"{path}: {key} has {len(state[key]):,} rows, and the vocabulary {len(rows):,}"
            )
        if not in_order:
            state[key] = _in_order_of(state[key], rows)


@torch.no_grad()
def _in_order_of(table: Tensor, rows: Tensor) -> Tensor:
    """A permutation of its rows, in its own memory: the embedding is the largest parameter."""
    if not table.is_contiguous():  # rows may share their numbers
        return table[rows]
    for columns in table.view(len(table), -1).split(_COLUMNS, dim=1):
        columns.copy_(columns[rows])
    return table
