"""Stand-in for `fairseq.data.token_block_utils_fast`: cuts a corpus into blocks. Equal results.

The corpus is one long row of tokens; sentence k takes the next `sizes[k]` of them.
"""

from __future__ import annotations

import numpy as np


def _get_slice_indices_fast(
    sizes: np.ndarray, break_mode: str | None, block_size: int, document_sep_len: int
) -> np.ndarray:
    """First token and end of each block: (blocks, 2), int64.

    `break_mode`: `none` cuts every `block_size` tokens; `complete` puts as many whole sentences
    into a block as fit (at least one); `complete_doc` does not go on past a sentence of
    `document_sep_len` tokens, which ends a document and is left out, as are blocks of one token;
    `eos` makes each sentence a block.

    Raises:
        ValueError: an unknown `break_mode`, or nothing is left to make a block of.
    """
    if break_mode is None or break_mode == "none":
        total = int(sizes.sum())
        starts = np.arange(0, total, block_size, dtype=np.int64)
        return np.stack([starts, np.minimum(starts + block_size, total)], axis=1)
    if break_mode == "eos":
        ends = np.cumsum(sizes, dtype=np.int64)
        return np.stack([ends - sizes, ends], axis=1)
    if break_mode == "complete":
        return _whole_sentences(sizes, block_size, separator=None, shortest=1)
    if break_mode == "complete_doc":
        return _whole_sentences(sizes, block_size, separator=document_sep_len, shortest=2)
    raise ValueError(f"Invalid break_mode: {break_mode}")


def _whole_sentences(
    sizes: np.ndarray, block_size: int, *, separator: int | None, shortest: int
) -> np.ndarray:
    """Blocks of whole sentences, at least `shortest` tokens each: (blocks, 2), int64."""
    blocks: list[tuple[int, int]] = []
    start = 0
    filled = 0

    def close_block() -> None:
        nonlocal start, filled
        if filled >= shortest:
            blocks.append((start, start + filled))
        start += filled
        filled = 0

    for size in sizes.tolist():
        if size == separator:
            close_block()
            start += size
            continue
        if filled and filled + size > block_size:
            close_block()
        filled += size
    close_block()
    if not blocks:
        raise ValueError(
            f"no block of {shortest} tokens or more in {len(sizes)} sentences "
            f"of {int(sizes.sum())} tokens together"
        )
    return np.array(blocks, dtype=np.int64)


def _get_block_to_dataset_index_fast(sizes: np.ndarray, slice_indices: np.ndarray) -> np.ndarray:
    """Where each block begins and ends: (blocks, 3), int64.

    The columns are its first sentence, the offset of its first token there, and its last sentence.
    """
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])

    def sentence_of(token: np.ndarray) -> np.ndarray:
        """The first sentence that begins at the token, else the one that contains it."""
        found = np.searchsorted(starts, token, side="left")
        return np.where(starts[found] == token, found, found - 1)

    first_token, end = slice_indices[:, 0], slice_indices[:, 1]
    first = sentence_of(first_token)
    last = np.where(end <= first_token, first, sentence_of(np.maximum(end - 1, 0)))
    return np.stack([first, first_token - starts[first], last], axis=1).astype(np.int64)
