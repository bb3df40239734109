"""Rows of ids in batches of about equal length, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor


def batches_by_length(
    ids: Sequence[Tensor], *, size: int, padding: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Batches, the longest rows first: places of the rows in `ids`, and `(rows, seq)`.

    Args:
        ids: `(tokens,)` of each row.
        size: rows a batch.
        padding: what fills a row up at its end.
    """
    from torch.nn.utils.rnn import pad_sequence
    from tqdm import tqdm

    order = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
    for start in tqdm(range(0, len(order), size), desc="batches", disable=None, leave=False):
        places = order[start : start + size]
        rows = [ids[place] for place in places]
        yield places, pad_sequence(rows, batch_first=True, padding_value=padding)
