"""Rows of which only the largest entries are kept, block by block: R v, R^T c and R R^T.

    block b of a row:  columns [4096 b, 4096 (b + 1)) below dim
    kept of it:        the k numbers that are largest in magnitude, k = max(1, round(density size))
    stored:            values ``(rows, kept)`` and where in their blocks they lie, in 16 bits

The same calls as :class:`GradientRows`, for which nothing of size rows x dim is ever made.  A tile
of some blocks and rows at a time has its indices and values widened in buffers that stay in the
processor's cache, and so does the piece of v, or of R^T c, that the tile reads or writes at random.
As that is what takes the time, products are in float64 from the start: a quarter more.

torch reads and writes at random in one thread.  So some blocks are the work of one thread, and the
tile is so small that torch does not call for others: results do not depend on how many there are.

On a GPU a tile is one row, which has no column twice: sums are in a fixed order there, too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from .gradient_rows import Row, dtype_name, scale_for

# Columns in a block: an index into it takes 16 bits.
BLOCK_COLUMNS = 4096
# Blocks of a tile, on a CPU, and numbers in it: torch takes threads of its own from 32,768 on.
TILE_BLOCKS = 16
TILE_NUMBERS = 32_000
# Blocks that are chosen from at once, and blocks whose part of R R^T is computed.
CHOICE_BLOCKS = 7
GRAM_BLOCKS = 64

Result = TypeVar("Result")


class BlockLayout(NamedTuple):
    """How many numbers of a row are kept, and which block each belongs to."""

    dim: int
    density: float
    block: int

    @property
    def kept_of_block(self) -> int:
        """k of a whole block."""
        return self._kept(self.block)

    @property
    def kept(self) -> int:
        """Numbers kept of a row."""
        whole, rest = divmod(self.dim, self.block)
        return whole * self.kept_of_block + (self._kept(rest) if rest else 0)

    def starts(self, device: torch.device | str) -> Tensor:
        """First column of the block of each kept number: int32 ``(kept,)``."""
        number = torch.arange(self.kept, dtype=torch.int32, device=device)
        return number.div_(self.kept_of_block, rounding_mode="floor").mul_(self.block)

    def tiles(self, blocks: int) -> Iterator[tuple[slice, slice]]:
        """(columns, kept numbers) of so many blocks at a time."""
        columns, kept = blocks * self.block, blocks * self.kept_of_block
        for i in range(-(-self.dim // columns)):
            yield (
                slice(i * columns, min((i + 1) * columns, self.dim)),
                slice(i * kept, min((i + 1) * kept, self.kept)),
            )

    def _kept(self, size: int) -> int:
        return max(1, round(self.density * size))


def block_layout(dim: int, density: float) -> BlockLayout:
    """Of new rows, in blocks of BLOCK_COLUMNS."""
    return BlockLayout(dim, float(density), BLOCK_COLUMNS)


class SparseRows:
    """``num_rows`` rows of ``dim`` numbers, zero at first.

    Args:
        num_rows: rows.
        dim: columns.
        density: share of the numbers that is kept, above 0, up to 1.
        dtype: float64, float32, bfloat16 or float16, of the numbers kept.
        device: where they are kept, and where the products are computed.
    """

    multiplies_exactly = True

    def __init__(
        self,
        num_rows: int,
        dim: int,
        *,
        density: float,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        self.blocks = block_layout(dim, density)
        self.compute_dtype = torch.float64 if dtype is torch.float64 else torch.float32
        self.values = torch.zeros(num_rows, self.blocks.kept, dtype=dtype, device=device)
        self.indices = torch.zeros(num_rows, self.blocks.kept, dtype=torch.int16, device=device)
        self.scales = torch.ones(num_rows, dtype=torch.float64, device=device)
        self._starts = self.blocks.starts(device)

    @property
    def layout(self) -> dict[str, Any]:
        """What a saved row must have in common with these to be taken over as it is."""
        return {
            "dtype": dtype_name(self.values.dtype),
            "density": self.blocks.density,
            "block_columns": self.blocks.block,
        }

    def saved(self, count: int) -> dict[str, Tensor]:
        """Entries of a checkpoint, ``(count, numbers kept of a row)`` each."""
        return {"rows": self.values[:count], "indices": self.indices[:count]}

    def choose(self, *parts: Tensor) -> Row:
        """The largest entries of the sum of some ``(dim,)``, not yet rounded.

        One that is not finite is among them, or makes another so.
        """
        chosen = list(
            self._each(lambda tile: self._chosen(parts, *tile), self.blocks.tiles(CHOICE_BLOCKS))
        )
        if not chosen:  # a worker without columns
            return Row(self.values[0], 1.0, self.indices[0])
        values, indices = zip(*chosen, strict=True)
        return Row(torch.cat(values), 1.0, torch.cat(indices))

    def rounded(self, row: Row, *, largest: float) -> Row:
        """What would be kept of :meth:`choose`'s; ``largest`` as for :meth:`narrow_down`."""
        scale = scale_for(largest, self.values.dtype)
        return row._replace(values=(row.values / scale).to(self.values.dtype), scale=scale)

    def narrow_down(self, row: Tensor, *, largest: float) -> Row:
        """What would be kept of ``(dim,)``.

        Args:
            largest: the largest magnitude, in the columns of other workers too.
        """
        return self.rounded(self.choose(row), largest=largest)

    def replace(self, slot: int, row: Row) -> None:
        """Keep ``row`` as number ``slot``."""
        self.values[slot].copy_(row.values)
        self.indices[slot].copy_(_indices(row))
        self.scales[slot] = row.scale

    def add_(self, target: Tensor, row: Row, *, factor: float) -> None:
        """``target += factor * row``, for ``(dim,)``."""
        values = row.values.to(target.dtype) * (factor * row.scale)
        target.index_add_(0, self._starts + _indices(row), values)

    def dot(self, v: Tensor, *, count: int) -> Tensor:
        """R v over the first ``count`` rows: ``(dim,)`` -> float64 ``(count,)``."""
        return self._dot(v, count)

    def dot_row(self, row: Row, *, count: int) -> Tensor:
        """R row over the first ``count`` rows: float64 ``(count,)``."""
        return self._dot(row, count) * row.scale

    def squared_norm(self, row: Row) -> Tensor:
        """Of a row, float64."""
        return row.values.double().square().sum() * row.scale**2

    def combine(self, coefficients: Tensor) -> Tensor:
        """R^T c over the first ``count`` rows: ``(count,)`` -> ``(dim,)``."""
        count = len(coefficients)
        weights = (coefficients * self.scales[:count]).unsqueeze(1)
        out = torch.empty(self.blocks.dim, dtype=self.compute_dtype, device=self.values.device)

        def fill(tile: tuple[slice, slice]) -> None:
            columns, kept = tile
            piece = self._zeros(columns.stop - columns.start)
            for rows, index, values in self._tile_rows(columns, kept, count):
                piece.index_add_(0, index, values.mul_(weights[rows]).view(-1))
            out[columns] = piece

        for _ in self._each(fill, self.blocks.tiles(self._tile_blocks)):
            pass
        return out

    def gram(self, *, count: int) -> Tensor:
        """R R^T of the first ``count`` rows, float64.

        For as many multiplications as there are pairs of rows that keep a column, for each column.
        """
        device = self.values.device
        gram = torch.zeros(count, count, dtype=torch.float64, device=device)
        for columns, kept in self.blocks.tiles(GRAM_BLOCKS):
            width = kept.stop - kept.start
            ends = torch.arange(0, count * width + 1, width, dtype=torch.int32, device=device)
            index = self.indices[:count, kept] + (self._starts[kept] - columns.start)
            values = self.values[:count, kept].double()
            shape = (count, columns.stop - columns.start)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
                tile = torch.sparse_csr_tensor(
                    ends, index.reshape(-1), values.reshape(-1), shape, check_invariants=False
                )
                gram += torch.sparse.mm(tile, tile.t().to_sparse_csr()).to_dense()
        return gram * torch.outer(self.scales[:count], self.scales[:count])

    def _dot(self, v: Tensor | Row, count: int) -> Tensor:
        """R v, but for the scale of v if that is a row."""

        def part(tile: tuple[slice, slice]) -> Tensor:
            columns, kept = tile
            if isinstance(v, Tensor):
                piece = v[columns].double()
            else:
                piece = self._zeros(columns.stop - columns.start)
                index = _indices(v)[kept] + (self._starts[kept] - columns.start)
                piece.index_add_(0, index, v.values[kept].double())
            out = self._zeros(count)
            for rows, index, values in self._tile_rows(columns, kept, count):
                found = torch.index_select(piece, 0, index)
                out[rows] = values.mul_(found.view(values.shape)).sum(1)
            return out

        out = self._zeros(count)
        for products in self._each(part, self.blocks.tiles(self._tile_blocks)):
            out += products
        return out * self.scales[:count]

    def _chosen(
        self, parts: tuple[Tensor, ...], columns: slice, kept: slice
    ) -> tuple[Tensor, Tensor]:
        """(values, indices) of the sum of the parts, of some blocks."""
        total = parts[0][columns].to(self.compute_dtype)
        for part in parts[1:]:
            total = total + part[columns].to(self.compute_dtype)
        block, k = self.blocks.block, self.blocks.kept_of_block
        whole = len(total) // block
        values, indices = [], []
        # The last block of all is shorter, and keeps fewer.
        rest = (total[whole * block :].unsqueeze(0), kept.stop - kept.start - whole * k)
        for rows, count in ((total[: whole * block].view(whole, block), k), rest):
            if rows.numel():
                index = rows.abs().topk(count, dim=1, sorted=False).indices.sort(dim=1).values
                values.append(rows.gather(1, index).view(-1))
                indices.append(index.view(-1).to(torch.int16))
        return torch.cat(values), torch.cat(indices)

    def _each(
        self, task: Callable[[tuple[slice, slice]], Result], tiles: Iterable[tuple[slice, slice]]
    ) -> Iterator[Result]:
        """What ``task`` returns for each tile, in their order; in as many threads as torch has."""
        threads = torch.get_num_threads() if self.values.device.type == "cpu" else 1
        if threads == 1:
            yield from map(task, tiles)
            return
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(task, tiles)

    def _zeros(self, size: int) -> Tensor:
        return torch.zeros(size, dtype=torch.float64, device=self.values.device)

    @property
    def _tile_blocks(self) -> int:
        if self.values.device.type == "cpu":
            return max(1, min(TILE_BLOCKS, TILE_NUMBERS // self.blocks.kept_of_block))
        return self.blocks.dim // self.blocks.block + 1

    def _tile_rows(
        self, columns: slice, kept: slice, count: int
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """(rows, their indices from ``columns`` on, their float64 values), in buffers."""
        width, device = kept.stop - kept.start, self.values.device
        most = max(1, TILE_NUMBERS // width) if device.type == "cpu" else 1
        indices = torch.empty(min(most, count), width, dtype=torch.int32, device=device)
        buffer = torch.empty(min(most, count), width, dtype=torch.float64, device=device)
        offsets = self._starts[kept] - columns.start
        for top in range(0, count, most):
            rows = slice(top, min(top + most, count))
            size = rows.stop - top
            index = indices[:size].copy_(self.indices[rows, kept]).add_(offsets)
            yield rows, index.view(-1), buffer[:size].copy_(self.values[rows, kept])


def _indices(row: Row) -> Tensor:
    assert row.indices is not None
    return row.indices
