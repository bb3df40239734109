"""Rows of numbers, many and long: R v and R^T c, each for one reading of R.

    row_i = scale_i * values_i,      scale_i a power of two
    (R v)_i   = scale_i * sum_k values_ik v_k
    (R^T c)_k = sum_i (scale_i c_i) values_ik

A row may be kept in half precision.  What is kept is then *the* row: products are taken with the
rounded numbers, in float32, and summed up in float64, so that R R^T is as good as in float32.  The
power of two brings the largest number of a row near the top of the type's range and costs nothing:
it keeps small gradients from underflow in float16, and squares from underflow in float32.

``product_dtype`` may be set to float64: products are then exact but for float64's rounding, and
take about three times as long, because torch multiplies only numbers of one type.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Columns in one product; the sums of the blocks are added up in float64, for R v.
BLOCK_COLUMNS = 262_144
# Narrow numbers are widened tile by tile in a buffer that stays in the processor's cache (8 MB).
# Long stretches of few rows: short ones of many cost a quarter more (benchmarks/bench_mfac.py).
TILE_ROWS = 32
TILE_COLUMNS = 65_536
# Columns widened at once for R R^T, which takes all rows together.
GRAM_COLUMNS = 4096
# Exponent of the largest number of a row: float16 ends at 2^16 and is subnormal below 2^-14.
_TOP_EXPONENT = {torch.float16: 14}


class Row(NamedTuple):
    """A row as it is kept: ``scale * values``."""

    values: Tensor
    scale: float
    indices: Tensor | None = None
    """Where the values lie in their blocks, if not all are kept (``SparseRows``)."""


class GradientRows:
    """``num_rows`` rows of ``dim`` numbers, zero at first.

    Args:
        num_rows: rows.
        dim: columns.
        dtype: float64, float32, bfloat16 or float16, of what is kept.
        device: where it is kept, and where the products are computed.
    """

    def __init__(
        self, num_rows: int, dim: int, *, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        self.compute_dtype = torch.float64 if dtype is torch.float64 else torch.float32
        self.product_dtype = self.compute_dtype
        self.values = torch.zeros(num_rows, dim, dtype=dtype, device=device)
        self.scales = torch.ones(num_rows, dtype=torch.float64, device=device)

    @property
    def layout(self) -> dict[str, Any]:
        """What a saved row must have in common with these to be taken over as it is."""
        return {"dtype": dtype_name(self.values.dtype)}

    @property
    def multiplies_exactly(self) -> bool:
        """Whether products are in float64 anyway."""
        return self.compute_dtype is torch.float64

    def saved(self, count: int) -> dict[str, Tensor]:
        """Entries of a checkpoint, ``(count, numbers of a row)`` each."""
        return {"rows": self.values[:count]}

    def narrow_down(self, row: Tensor, *, largest: float) -> Row:
        """Round ``(dim,)`` to what would be kept.

        A row that is not finite gives values that are not finite.

        Args:
            largest: the largest magnitude, in the columns of other workers too.
        """
        scale = scale_for(largest, self.values.dtype)
        return Row((row.to(self.compute_dtype) / scale).to(self.values.dtype), scale)

    def replace(self, slot: int, row: Row) -> None:
        """Keep ``row`` as number ``slot``."""
        self.values[slot].copy_(row.values)
        self.scales[slot] = row.scale

    def dot_row(self, row: Row, *, count: int) -> Tensor:
        """R row over the first ``count`` rows: float64 ``(count,)``."""
        return self.dot(row.values, count=count) * row.scale

    def squared_norm(self, row: Row) -> float | Tensor:
        """Of a row, float64."""
        return self.dot_unscaled(row.values.unsqueeze(0), row.values)[0] * row.scale**2

    def dot(self, v: Tensor, *, count: int) -> Tensor:
        """R v over the first ``count`` rows: ``(dim,)`` -> float64 ``(count,)``."""
        return self.dot_unscaled(self.values[:count], v) * self.scales[:count]

    def combine(self, coefficients: Tensor) -> Tensor:
        """R^T c over the first ``count`` rows: ``(count,)`` -> ``(dim,)``."""
        count = len(coefficients)
        weights = (coefficients * self.scales[:count]).to(self.product_dtype)
        values = self.values[:count]
        if values.dtype is self.product_dtype:
            return torch.mv(values.t(), weights)
        if self._has_mixed_product(values):
            return _widening_mm(values.t(), weights).to(self.compute_dtype)
        out = torch.zeros(values.size(1), dtype=self.product_dtype, device=values.device)
        for tile, rows, columns in self._tiles(values):
            out[columns].addmv_(tile.t(), weights[rows])
        return out.to(self.compute_dtype)

    def gram(self, *, count: int) -> Tensor:
        """R R^T of the first ``count`` rows, float64: for m^2 d multiplications."""
        gram = torch.zeros(count, count, dtype=torch.float64, device=self.values.device)
        for block in self.values[:count].split(GRAM_COLUMNS, dim=1):
            wide = block.to(self.product_dtype)
            gram += wide @ wide.t()
        return gram * torch.outer(self.scales[:count], self.scales[:count])

    def dot_unscaled(self, values: Tensor, v: Tensor) -> Tensor:
        """``values`` ``(rows, dim)`` times ``(dim,)``: float64 ``(rows,)``."""
        v = v.to(self.product_dtype)
        out = torch.zeros(len(values), dtype=torch.float64, device=values.device)
        plain = values.dtype is self.product_dtype
        if plain or self._has_mixed_product(values):
            multiply = torch.mv if plain else _widening_mm
            for start in range(0, values.size(1), BLOCK_COLUMNS):
                columns = slice(start, start + BLOCK_COLUMNS)
                out += multiply(values[:, columns], v[columns])
            return out
        for tile, rows, columns in self._tiles(values):
            out[rows] += torch.mv(tile, v[columns])
        return out

    def _has_mixed_product(self, values: Tensor) -> bool:
        """Whether torch multiplies halves with sums in ``product_dtype``."""
        return values.is_cuda and values.element_size() == 2 and self.product_dtype is torch.float32

    def _tiles(self, values: Tensor) -> Iterator[tuple[Tensor, slice, slice]]:
        """(tile in ``product_dtype``, its rows, its columns), tile by tile, in one buffer."""
        num_rows, dim = values.shape
        size = min(TILE_ROWS, num_rows) * min(TILE_COLUMNS, dim)
        buffer = torch.empty(size, dtype=self.product_dtype, device=values.device)
        for left in range(0, dim, TILE_COLUMNS):
            columns = slice(left, min(left + TILE_COLUMNS, dim))
            for top in range(0, num_rows, TILE_ROWS):
                rows = slice(top, min(top + TILE_ROWS, num_rows))
                narrow = values[rows, columns]
                tile = buffer[: narrow.numel()].view(narrow.shape)
                yield tile.copy_(narrow), rows, columns


def largest_magnitude(values: Tensor) -> float:
    """Of a vector, 0 if it is empty; not finite if one of its numbers is not."""
    if not values.numel():
        return 0.0
    smallest, largest = torch.aminmax(values)
    return max(-float(smallest), float(largest))


def scale_for(largest: float, dtype: torch.dtype) -> float:
    """The power of two that brings ``largest`` near the top of the type's range."""
    if largest == 0 or not math.isfinite(largest):
        exponent = 0
    else:
        # Within float32's range, whatever the row: 2^-100 is as good as nothing for a gradient.
        exponent = min(max(math.frexp(largest)[1], -100), 100) - _TOP_EXPONENT.get(dtype, 0)
    return 2.0**exponent


def dtype_name(dtype: torch.dtype) -> str:
    """``torch.float32`` -> ``float32``."""
    return str(dtype).removeprefix("torch.")


def _widening_mm(matrix: Tensor, v: Tensor) -> Tensor:
    """Half-precision matrix times float32 vector on a GPU, in float32 throughout: float64.

    The tensor cores take both factors in half precision, so the vector goes in as three of them
    that add up to it.  Reading the matrix is what takes the time, and it is read once.
    """
    parts, scale = split_into_halves(v, matrix.dtype)
    try:
        product = torch.mm(matrix, parts, out_dtype=torch.float32)
    except (TypeError, RuntimeError):  # torch < 2.8: no mixed types; slower, and the same result
        product = torch.mm(matrix.float(), parts.float())
    return product.double().sum(1) * scale


def split_into_halves(v: Tensor, dtype: torch.dtype) -> tuple[Tensor, float]:
    """``(n,)`` as ``scale * (a + b + c)``: ``(n, 3)`` of a half precision, and the scale."""
    largest = float(v.abs().max()) if v.numel() else 0.0
    exponent = math.frexp(largest)[1] if math.isfinite(largest) else 0
    scale = 2.0 ** (min(max(exponent, -100), 100) - _TOP_EXPONENT.get(dtype, 0))
    rest = v.float() / scale
    parts = []
    for _ in range(3):
        parts.append(rest.to(dtype))
        rest = rest - parts[-1].float()
    return torch.stack(parts, dim=1), scale
