"""What rounding does to a step u = m G^T A^-1 e_j: expected, limited, and on some steps measured.

Products g_i . g_j are off by u |g_i| |g_j| each.  It moves the step by a share of

    u sqrt(m)                               if the gradients are far from each other's span
    u |g|^2 / damp sqrt(1/r^2 + 1/m)        if r gradients come again and again

The second is what few batches make of a model with few parameters and no dropout.  With float32's u
of 6e-8 and damp 1e-6 it passes 1e-3 at |g| = 0.13 for r = 1, and at 0.5 for r = 30 and m = 256.  So
each push asks :meth:`DampedGram.expected_error`.  Above LARGEST_ERROR, G G^T is computed anew in
float64, and products are taken in float64 until m pushes have gone by without need.  That is good
up to |g| = 1000 or more; beyond, a warning tells.

What rounding has done to a step can be measured.  With x for A^-1 e_j as it was computed, the
residual lies in the span of the rows, and so does the error, to first order:

    F u - g = G^T rho       rho = m damp x + G u / m - e_j
    error   = |m G^T A^-1 rho| / |u|
"""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

from .damped_gram import DampedGram
from .gradient_rows import BLOCK_COLUMNS, GradientRows
from .sparse_rows import SparseRows
from .worker_columns import WorkerColumns

logger = logging.getLogger(__name__)

# Share of a step that rounding may cost; above, products are taken in float64, or a warning given.
LARGEST_ERROR = 1e-3
# u above.  A sum of products was off by 1 to 4 times the unit of rounding, for d up to 1e5.
ROUNDING = {torch.float32: 2.0**-21, torch.float64: 2.0**-50}


class StepRounding:
    """Of one window.

    Args:
        rows: G, of this worker's columns; whether products are in float64 is set here.
        system: A.
        columns: which they are.
        damping: damp.
    """

    def __init__(
        self,
        rows: GradientRows | SparseRows,
        system: DampedGram,
        columns: WorkerColumns,
        *,
        damping: float,
    ) -> None:
        self.rows = rows
        self.system = system
        self.columns = columns
        self.damping = damping
        self.float64_pushes = 0
        """To come, at least."""
        self._warned = False

    def limited(self, x: Tensor, slot: int, *, count: int) -> Tensor:
        """A^-1 e_slot, in float64 from the products on where float32's would spoil the step.

        Args:
            x: what was computed for it.
            slot: j, of the newest row.
            count: rows that are filled.
        """
        error = self._expected(x, slot)
        if not self.rows.multiplies_exactly:
            in_float64 = self.float64_pushes > 0
            needed = error * ROUNDING[torch.float32] > LARGEST_ERROR
            left = self.system.size if needed else max(0, self.float64_pushes - 1)
            self.take_products_in_float64(pushes=left)
            if needed and not in_float64:
                logger.info(
                    "M-FAC: gradients nearly repeat each other: their products are taken in "
                    "float64 for now, or rounding would weigh more than damping %g",
                    self.damping,
                )
                self.system.replace(self.columns.all_reduce(self.rows.gram(count=count)))
                x = self.system.column(slot)
                error = self._expected(x, slot)
        if error * ROUNDING[torch.float64] > LARGEST_ERROR or self.system.repaired:
            squared_norm = float(self.system.gram[slot, slot])
            self._warn(
                f"gradients of norm {squared_norm**0.5:.2g} nearly repeat each other, and damping "
                f"{self.damping:g} is too small for that even in float64: steps may be noise",
                better=squared_norm * ROUNDING[torch.float64] / LARGEST_ERROR,
            )
        return x

    def measured(self, own: Tensor, x: Tensor, slot: int, *, count: int) -> float:
        """The error above, in at most two passes over the window in float64; it changes nothing.

        Args:
            own: this worker's columns of u.
            x: A^-1 e_slot, from which u was made.
            slot: j.
            count: rows that are filled.
        """
        pushes, size = self.float64_pushes, self.system.size
        self.take_products_in_float64(pushes=max(1, pushes))
        products = torch.zeros_like(x)
        products[:count] = self.rows.dot(own, count=count)
        residual = x * self.system.ridge + self.columns.all_reduce(products) / size
        residual[slot] -= 1.0
        w = size * self.system.solve(residual)
        if self.rows.multiplies_exactly:  # so is G G^T: |G^T w|^2 = w^T G G^T w
            squared_error = max(0.0, float(torch.dot(w, torch.mv(self.system.gram, w))))
        else:
            squared_error = self._squared_length(self.rows.combine(w[:count]))
        self.take_products_in_float64(pushes=pushes)
        squared_length = self._squared_length(own)
        share = math.sqrt(squared_error / squared_length) if squared_length else 0.0
        if share > LARGEST_ERROR:
            self._warn(
                f"rounding has moved this step by {share:.1g} of its length",
                better=self.damping * share / LARGEST_ERROR,
            )
        return share

    def take_products_in_float64(self, *, pushes: int) -> None:
        """For so many pushes to come; 0 goes back to float32."""
        if isinstance(self.rows, GradientRows):
            self.float64_pushes = pushes
            self.rows.product_dtype = torch.float64 if pushes else self.rows.compute_dtype

    def _expected(self, x: Tensor, slot: int) -> float:
        """The same number on all workers, so that they decide alike, whatever their processors."""
        own = x.new_tensor([self.system.expected_error(x, slot)])
        return float(self.columns.all_reduce(own)) / self.columns.num_workers

    def _squared_length(self, own: Tensor) -> float:
        """Of a vector of which each worker has its columns; no copy of it in float64 is made."""
        pieces = [piece.double().square().sum() for piece in own.split(BLOCK_COLUMNS)]
        return float(self.columns.all_reduce(torch.stack(pieces).sum()))

    def _warn(self, what: str, *, better: float) -> None:
        """Once."""
        if not self._warned:
            self._warned = True
            logger.warning(
                "M-FAC: %s. Use a damping above %.1g (--mfac-damping), average the loss over the "
                "batch, or clip",
                what,
                better,
            )
