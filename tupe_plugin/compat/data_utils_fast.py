"""Stand-in for `fairseq.data.data_utils_fast`: groups sentences into batches. Equal results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def batch_by_size_vec(
    indices: np.ndarray,
    num_tokens_vec: np.ndarray,
    max_tokens: int,
    max_sentences: int,
    bsz_mult: int,
) -> list[np.ndarray]:
    """Cut `indices` (sentences,) into consecutive batches, each as large as the limits allow.

    A batch of n sentences costs n times its longest, at most `max_tokens`; n is at most
    `max_sentences`; and n is below `bsz_mult` or a multiple of it. A limit <= 0 is no limit.
    `num_tokens_vec` (sentences,) holds the length of each entry of `indices`.

    Raises:
        AssertionError: a sentence alone is longer than `max_tokens` (the compiled one's type).
    """
    if len(indices) == 0:
        return []
    if 0 < max_tokens < num_tokens_vec.max():
        raise AssertionError(
            f"Sentences lengths should not exceed max_tokens={max_tokens}; "
            f"the longest has {num_tokens_vec.max()}"
        )
    # [start, end) is the batch so far, of a permitted size; [end, here] is the tail, waiting until
    # batch and tail together have a permitted size again.
    cuts: list[int] = []
    start = end = 0
    longest_in_batch = longest_in_tail = 0
    for here, length in enumerate(num_tokens_vec.tolist()):
        longest_in_tail = max(longest_in_tail, length)
        longest = max(longest_in_batch, longest_in_tail)
        size = here + 1 - start
        too_large = size > max_sentences > 0 or size * longest > max_tokens > 0
        if too_large:
            cuts.append(end)
            start = end
            if longest_in_tail * (here + 1 - end) > max_tokens > 0:
                # The tail does not even fit alone: without this sentence it is a batch of its own.
                cuts.append(here)
                start = here
                longest_in_tail = length
            longest = longest_in_tail
        if too_large or size < bsz_mult or size % bsz_mult == 0:
            end = here + 1
            longest_in_batch = longest
            longest_in_tail = 0
    if end != len(indices):
        cuts.append(end)
    return np.split(indices, cuts)


def batch_by_size_fn(
    indices: np.ndarray,
    num_tokens_fn: Callable[[int], int],
    max_tokens: int,
    max_sentences: int,
    bsz_mult: int,
) -> list[np.ndarray]:
    """`batch_by_size_vec` with the length of a sentence given by a function of its index."""
    lengths = np.fromiter(map(num_tokens_fn, indices), dtype=np.int64, count=len(indices))
    return batch_by_size_vec(indices, lengths, max_tokens, max_sentences, bsz_mult)


def batch_fixed_shapes_fast(
    indices: np.ndarray, num_tokens_fn: Callable[[int], int], fixed_shapes_sorted: np.ndarray
) -> list[list[int]]:
    """Cut `indices` into batches that fit into one of the shapes (sentences, tokens) given.

    A batch grows while some shape holds it; `fixed_shapes_sorted` (shapes, 2) is tried in order.
    """
    shapes = [(int(sentences), int(tokens)) for sentences, tokens in fixed_shapes_sorted]
    batches: list[list[int]] = []
    batch: list[int] = []
    longest = 0
    first_shape = 0  # the earlier ones were too small for a part of this batch already
    for index in indices.tolist():
        longest = max(longest, num_tokens_fn(index))
        fitting = (
            position
            for position, (sentences, tokens) in enumerate(shapes[first_shape:], first_shape)
            if len(batch) + 1 <= sentences and longest <= tokens
        )
        found = next(fitting, None)
        if found is None:
            batches.append(batch)
            batch = []
            longest = 0  # as compiled: the sentence that starts the new batch is not counted
            first_shape = 0
        else:
            first_shape = found
        batch.append(index)
    if batch:
        batches.append(batch)
    return batches
