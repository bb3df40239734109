"""A sliding window of gradients, and products with the inverse of the Fisher matrix that it makes.

    F = damp I + (1/m) G^T G,   G = the last m gradients, one a row   (m, d);   d is far too large
                                                                      for F to be formed
By the Woodbury identity, with the m x m matrix A = m damp I + G G^T,

    F^-1 v = (v - G^T A^-1 G v) / damp

and for v = g_j, a row of the window, where G v = G G^T e_j = (A - m damp I) e_j,

    F^-1 g_j = m G^T A^-1 e_j

So the product with the newest gradient, which is what M-FAC steps along, is one pass over G when
the gradient enters (its new row of G G^T) and one for G^T; and nothing is subtracted and then
divided by a small damp.  What remains is the rounding of the products:
``step_rounding.py``.

Source: M-FAC (arXiv 2107.03356), section 3.2, "dynamic" algorithm: the same F, reached there by
a recursion over the rows.  Slots not filled yet are zero rows; the divisor is m from the first
gradient on, as in the authors' code.

| paper                   | here                                          |
|-------------------------|-----------------------------------------------|
| m                       | ``num_grads``                                 |
| lambda                  | ``damping``                                   |
| G = (grad l_1, ...)     | ``rows`` (:class:`GradientRows`)              |
| lambda m I + G G^T      | ``system`` (:class:`DampedGram`)              |
| d                       | ``dim``                                       |
"""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .damped_gram import DampedGram
from .gradient_rows import GradientRows, Row, largest_magnitude
from .saved_window import (
    as_saved,
    blocks_of,
    described,
    saved_layout,
    saved_row,
    slots_to_keep,
    whole_row,
)
from .sparse_rows import SparseRows, block_layout
from .step_rounding import StepRounding
from .window_settings import check_window_settings
from .worker_columns import WorkerColumns

logger = logging.getLogger(__name__)


class FisherWindow:
    """The window above.

    Over several workers each holds some columns of G.  All must make the same calls with the same
    vectors: a push costs an all-reduce of m numbers and one of 1, a product one all-gather of d.

    Args:
        num_grads: m, gradients in the window.
        dim: d, numbers in a gradient.
        damping: damp, above 0.
        dtype: of the gradients kept; a rounded gradient is *the* gradient from then on.
        device: where the window lives.
        process_group: workers that share the window out; None keeps it whole.
        density: share of each gradient that is kept, its largest entries; None keeps all of it
            (:class:`GradientRows`).  See :class:`CompressedWindow` for what to do with the rest.

    Raises:
        ValueError: ``num_grads`` is below 1, ``damping`` is not above 0, or ``density`` not in
            (0, 1].
    """

    def __init__(
        self,
        num_grads: int,
        dim: int,
        *,
        damping: float,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        process_group: dist.ProcessGroup | None = None,
        density: float | None = None,
    ) -> None:
        check_window_settings(num_grads, damping, dtype, density=density)
        self.num_grads = num_grads
        self.dim = dim
        self.damping = damping
        self.rows: GradientRows | SparseRows
        if density is None:
            self.columns = self._stored = WorkerColumns(dim, process_group)
            self.rows = GradientRows(num_grads, self.columns.num_own, dtype=dtype, device=device)
        else:
            blocks = block_layout(dim, density)
            self.columns = WorkerColumns(dim, process_group, multiple=blocks.block)
            # The numbers that are stored of a row, of all workers.
            self._stored = WorkerColumns(blocks.kept, process_group, multiple=blocks.kept_of_block)
            self.rows = SparseRows(
                num_grads, self.columns.num_own, density=density, dtype=dtype, device=device
            )
        self.system = DampedGram(num_grads, ridge=num_grads * damping, device=device)
        self.num_pushed = 0
        self._newest: tuple[int, Tensor] | None = None  # slot, A^-1 e_slot
        self._gathered: dict[str, list[Tensor]] | None = None
        self._rounding = StepRounding(self.rows, self.system, self.columns, damping=damping)

    @property
    def num_filled(self) -> int:
        """Gradients in the window: at most ``num_grads``."""
        return min(self.num_pushed, self.num_grads)

    def push(self, g: Tensor) -> bool:
        """Let ``g`` ``(dim,)`` take the place of the oldest gradient.

        Returns:
            False if ``g`` is not finite: the window is then what it was.
        """
        g = g.to(self.rows.values.device)
        own = g[self.columns.own]
        return self.push_row(self.rows.narrow_down(own, largest=largest_magnitude(g)))

    def push_row(self, row: Row) -> bool:
        """:meth:`push` for what ``rows`` has made of this worker's columns of a gradient."""
        products = torch.zeros_like(self.rows.scales)
        filled, slot = self.num_filled, self.num_pushed % self.num_grads
        products[:filled] = self.rows.dot_row(row, count=filled)
        products[slot] = self.rows.squared_norm(row)
        products = self.columns.all_reduce(products)
        if not math.isfinite(float(products.abs().max())):
            return False
        self.rows.replace(slot, row)
        self.num_pushed += 1
        x = self.system.exchange(slot, products)
        self._newest = slot, self._rounding.limited(x, slot, count=self.num_filled)
        self._gathered = None
        return True

    def newest_inverse_product(self) -> Tensor:
        """F^-1 g for the gradient pushed last (as it was rounded): ``(dim,)``.

        Raises:
            RuntimeError: nothing was pushed since the window was made or loaded.
        """
        if self._newest is None:
            raise RuntimeError("newest_inverse_product() needs a push() before it")
        _, x = self._newest
        own = self.rows.combine(self.num_grads * x[: self.num_filled])
        return self.columns.all_gather(own)

    def newest_error(self, product: Tensor) -> float:
        """By how much of its length rounding has moved :meth:`newest_inverse_product`.

        Args:
            product: what that has returned.
        """
        assert self._newest is not None
        slot, x = self._newest
        own = product.to(self.rows.values.device)[self.columns.own]
        return self._rounding.measured(own, x, slot, count=self.num_filled)

    def inverse_product(self, v: Tensor) -> Tensor:
        """F^-1 v for any ``(dim,)``."""
        filled = self.num_filled
        own = v.to(self.rows.values.device, self.rows.compute_dtype)[self.columns.own]
        products = torch.zeros_like(self.rows.scales)
        products[:filled] = self.rows.dot(own, count=filled)
        coefficients = self.system.solve(self.columns.all_reduce(products))
        own = (own - self.rows.combine(coefficients[:filled])) / self.damping
        return self.columns.all_gather(own)

    def consolidate(self, to: int = 0) -> None:
        """Bring the window together in worker ``to``'s host memory, for its next state_dict().

        Every worker must call it; with one worker there is nothing to do.
        """
        if self.columns.num_workers == 1:
            return
        gathered = {}
        for name, own in self.rows.saved(self.num_filled).items():
            blocks = blocks_of(own, width=self._stored.dim)
            gathered[name] = [self._stored.gather_rows(block, to=to) for block in blocks]
        self._gathered = None
        if self.columns.rank == to:
            self._gathered = {
                name: [block for block in blocks if block is not None]
                for name, blocks in gathered.items()
            }

    def state_dict(self, *, with_rows: bool = True) -> dict[str, Any]:
        """Everything, as tensors and plain numbers; the tensors are the live ones.

        Rows are left out if ``with_rows`` is False, or if there are several workers and
        :meth:`consolidate` was not called on all since the last push.
        """
        if with_rows and self.columns.num_workers > 1 and self._gathered is None:
            logger.warning(
                "M-FAC: this state lacks the window's gradients, which lie with several workers: "
                "call consolidate_state_dict() on all of them, then state_dict() on one"
            )
            with_rows = False
        state: dict[str, Any] = {
            "num_grads": self.num_grads,
            "dim": self.dim,
            "damping": self.damping,
            "num_pushed": self.num_pushed,
            "float64_pushes": self._rounding.float64_pushes,
            "rows": None,
        }
        if with_rows:
            state.update(self.rows.layout)
            saved = self._gathered or {
                name: blocks_of(rows, width=self._stored.dim)
                for name, rows in self.rows.saved(self.num_filled).items()
            }
            for name, blocks in saved.items():
                state[name] = [as_saved(block) for block in blocks]
            state["scales"] = self.rows.scales
            state["gram"] = self.system.gram
            state["inverse"] = self.system.inverse
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a window, saved with any number of workers.

        With other ``num_grads``, the newest gradients that fit are kept.  With another dtype they
        are rounded to it.

        Raises:
            ValueError: the gradients have another number of elements.
        """
        if state["dim"] != self.dim:
            raise ValueError(
                f"the saved window is over {state['dim']} trainable parameters, this one over "
                f"{self.dim}: resume with the same parameters trainable, or reset the optimizer"
            )
        self._newest, self._gathered, self.num_pushed = None, None, 0
        self._rounding.take_products_in_float64(pushes=0)
        if state["rows"] is None:
            if state["num_pushed"]:
                logger.warning(
                    "M-FAC: the saved state lacks the window's gradients; the window begins empty, "
                    "as in a new run, and fills up over the next %d steps",
                    self.num_grads,
                )
            self.system.clear()
            return
        if "feedback" in state and isinstance(self.rows, GradientRows):
            logger.warning(
                "M-FAC: the saved window is compressed and this one is not: the error feedback is "
                "dropped, and the saved gradients stay the few entries that they are"
            )
        same_rows = saved_layout(state) == self.rows.layout
        slots, self.num_pushed = slots_to_keep(state, self.num_grads)
        for target, slot in enumerate(slots):
            if same_rows:
                row = saved_row(state, slot, self._stored.own)
            else:
                whole = whole_row(state, slot, self.rows.compute_dtype)
                own = whole[self.columns.own].to(self.rows.values.device)
                row = self.rows.narrow_down(own, largest=largest_magnitude(whole))
            self.rows.replace(target, row)
        # States of before it was counted begin anew: the next push finds out.
        self._rounding.take_products_in_float64(pushes=state.get("float64_pushes", 0))
        device, filled = self.rows.values.device, len(slots)
        if same_rows and state["num_grads"] == self.num_grads:
            self.system.gram = state["gram"].to(device, copy=True)
            self.system.inverse = state["inverse"].to(device, copy=True)
            if state["damping"] != self.damping:
                self.system.factorise()
            return
        if same_rows:
            index = torch.tensor(slots, dtype=torch.long, device=device)
            gram = state["gram"].to(device)[index][:, index]
        else:
            gram = self.columns.all_reduce(self.rows.gram(count=filled))
        self.system.replace(gram)
        logger.info(
            "M-FAC: the saved window holds %d of %d gradients in %s; this one, of %d in %s, keeps "
            "the newest %d",
            min(state["num_pushed"], state["num_grads"]),
            state["num_grads"],
            described(saved_layout(state)),
            self.num_grads,
            described(self.rows.layout),
            filled,
        )
