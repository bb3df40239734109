"""Relative positions: one learned scalar for each head and each bucket of distances.

    R[h, i, j] = b_h[bucket(j - i)]

Near distances have a bucket each, far ones share logarithmic buckets, and all beyond
``max_distance`` share the last; keys to the left and to the right are told apart.

Source: T5 (arXiv 1910.10683), section 2.1; added to TUPE's logits in arXiv 2006.15595, equation 8.
R is neither scaled nor normalised, and shared by all layers.

| paper            | here                              |
|------------------|-----------------------------------|
| b_{j-i}          | ``bias.weight[bucket, head]``     |
| number of bins   | ``num_bins`` (32)                 |
| offset limit     | ``max_distance`` (128)            |
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .untied_cls import reset_cls


def relative_position_bucket(offset: Tensor, *, num_bins: int, max_distance: int) -> Tensor:
    """Bucket of each distance ``key position - query position``, after T5 (bidirectional).

    Half of the bins serve keys to the right (offset > 0).  Of each half, the first half holds
    one distance each; the rest grows logarithmically up to ``max_distance``.  Bin
    ``num_bins / 2`` would be "0 to the right": it is never returned.

    Args:
        offset: integers of any shape.
        num_bins: number of bins, even, 4 or more.
        max_distance: distances from here on share the last bin of their half.

    Returns:
        ``int64`` of ``offset``'s shape, in ``[0, num_bins)``.

    Raises:
        ValueError: ``num_bins`` is odd or below 4, or ``max_distance`` is not above
            the largest distance with a bin of its own.
    """
    if num_bins < 4 or num_bins % 2:
        raise ValueError(
            f"num_bins={num_bins}: the number of relative position bins must be even and 4 or "
            "more (half of them serve each direction)"
        )
    half = num_bins // 2
    exact = half // 2
    if max_distance <= exact:
        raise ValueError(
            f"max_distance={max_distance}: must be above {exact}, the distances which "
            f"num_bins={num_bins} tells apart one by one"
        )
    distance = offset.abs()
    # float32, in this order: released weights were trained with these very roundings.
    logarithm = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    far = exact + (logarithm * (half - exact)).long()
    bucket = torch.where(distance < exact, distance, far.clamp(max=half - 1))
    return bucket + half * (offset > 0).long()


class RelativePositionBias(nn.Module):
    """The relative bias ``R`` above.

    Args:
        num_heads: attention heads.
        max_positions: longest sequence, in tokens.
        num_bins: see :func:`relative_position_bucket`.
        max_distance: see :func:`relative_position_bucket`.
        untied_cls: None, or the two extra entries of the table (:func:`untied_cls_bins`) which
            stand for "[CLS] looks at a word" and "a word looks at [CLS]".
    """

    def __init__(
        self,
        num_heads: int,
        max_positions: int,
        *,
        num_bins: int = 32,
        max_distance: int = 128,
        untied_cls: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.untied_cls = untied_cls
        self.max_positions = max_positions
        self.num_bins, self.max_distance = num_bins, max_distance
        self.register_buffer("buckets", self._bucket_table(), persistent=False)
        self.buckets: Tensor
        self.bias = nn.Embedding(max(num_bins, 1 + max(untied_cls or (0,))), num_heads)
        self.place_buckets()

    def _bucket_table(self) -> Tensor:
        """Bucket of each offset, on the CPU: elsewhere a logarithm may round to the other side."""
        offsets = torch.arange(1 - self.max_positions, self.max_positions, device="cpu")
        return relative_position_bucket(
            offsets, num_bins=self.num_bins, max_distance=self.max_distance
        )

    def place_buckets(self) -> None:
        """Make the table anew, on the device of the parameters."""
        device = self.bias.weight.device
        self.buckets = self._bucket_table()
        if device.type != "meta":
            self.buckets = self.buckets.to(device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RelativePositionBias:
        # Whatever moves a module goes through here.  `to_empty` leaves garbage in every tensor, and
        # no checkpoint fills this one.
        super()._apply(fn, recurse)
        self.place_buckets()
        return self

    def forward(self, length: int) -> Tensor:
        """Bias for a sequence of ``length`` tokens: ``(heads, length, length)``."""
        middle = self.max_positions - 1  # where the offset is 0
        by_offset = self.bias(self.buckets[middle - length + 1 : middle + length]).t()
        bias = _toeplitz(by_offset, length)
        if self.untied_cls is None:
            return bias
        to_others, from_others = self.untied_cls
        weight = self.bias.weight
        return reset_cls(bias, cls_to_others=weight[to_others], others_to_cls=weight[from_others])


def untied_cls_bins(num_bins: int) -> tuple[int, int]:
    """Table rows of the untied [CLS]: (the bin which the T5 rule never returns, one row more)."""
    return num_bins // 2, num_bins


def _toeplitz(by_offset: Tensor, length: int) -> Tensor:
    """``(heads, 2 length - 1)`` -> ``(heads, length, length)``: row i starts at offset -i."""
    if torch.compiler.is_compiling():  # `unfold` would fix the length of a traced graph
        place = torch.arange(length, device=by_offset.device)
        return by_offset[:, place - place.unsqueeze(1) + (length - 1)]
    return by_offset.unfold(1, length, 1).flip(1)
