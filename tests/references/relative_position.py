"""T5's buckets of relative distance, in exact integer arithmetic, and the bias made of them."""

from __future__ import annotations

import torch
from torch import Tensor


def bucket(offset: int, num_bins: int, max_distance: int) -> int:
    """Bucket of ``offset`` = key position - query position, as the T5 paper says it in words.

    Half of the bins are for keys to the right.  Of a half, the first half are for one distance
    each.  From there to ``max_distance`` the rest are cut so that they have equal widths on a
    logarithmic axis.  Floor(log(n / exact) / log(max / exact) * wide) is the largest k with
    (n / exact)^wide >= (max / exact)^k; multiplied out, that compares two integers.
    """
    half = num_bins // 2
    exact = half // 2
    wide = half - exact
    right = half if offset > 0 else 0
    distance = abs(offset)
    if distance < exact:
        return right + distance
    k = 0
    while (
        k + 1 < wide and distance**wide * exact ** (k + 1) >= max_distance ** (k + 1) * exact**wide
    ):
        k += 1
    return right + exact + k


def relative_bias(
    table: Tensor, length: int, *, num_bins: int, max_distance: int, untied: bool
) -> Tensor:
    """``(bins, heads)`` -> ``(heads, length, length)``, one cell at a time.

    With ``untied``, entry ``num_bins / 2`` stands for "[CLS] looks at a word" and the last entry,
    ``num_bins``, for "a word looks at [CLS]".
    """
    heads = table.shape[1]
    bias = torch.zeros(heads, length, length, dtype=table.dtype)
    for query in range(length):
        for key in range(length):
            if untied and query == 0:
                entry = num_bins // 2
            elif untied and key == 0:
                entry = num_bins
            else:
                entry = bucket(key - query, num_bins, max_distance)
            for head in range(heads):
                bias[head, query, key] = table[entry, head]
    return bias
