"""A loss of the user's own in the unit of the methods here: summed over the rows, in float32.

A divergence of two predictions is added to a loss, so both must be summed or averaged over the same
rows; ``reduction`` says which of the two a loss is, as in ``torch.nn.functional``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def wide(prediction: Tensor) -> Tensor:
    """In float32 at least."""
    return prediction.to(torch.promote_types(prediction.dtype, torch.float32))


def summands(prediction: Tensor, reduction: str) -> int:
    """What makes a loss the sum over the rows of ``prediction`` ``(rows, classes)``.

    Raises:
        ValueError: ``reduction`` is neither ``mean`` nor ``sum``.
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction={reduction!r}: give mean or sum, whichever your loss does")
    return prediction.size(0) if reduction == "mean" else 1
