"""A sliding window of gradients, and products with the inverse of the Fisher matrix that it makes.

    F = damp I + (1/m) G^T G,   G = the last m gradients, one a row   (m, d);   d is far too large
                                                                      for F to be formed
By the Woodbury identity, with the m x m matrix A = m damp I + G G^T,

    F^-1 v = (v - G^T A^-1 G v) / damp

and for v = g_j, a row of the window, where G v = G G^T e_j = (A - m damp I) e_j,

    F^-1 g_j = m G^T A^-1 e_j

So the product with the newest gradient, which is what M-FAC steps along, is one pass over G when
the gradient enters (its new row of G G^T) and one for G^T; and as nothing is subtracted and then
divided by a small damp, it is as accurate in float32 as the products are.  What remains is
rounding of about eps |g| / damp: in float32, gradients must stay below sqrt(m damp / eps) in norm
(65 for m 512 and damp 1e-6), and a warning tells if they do not.

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
from .gradient_rows import GradientRows
from .worker_columns import WorkerColumns

logger = logging.getLogger(__name__)

# Rows are saved in blocks of this many bytes: whoever moves a checkpoint moves one at a time.
SAVED_BLOCK_BYTES = 2**28


class FisherWindow:
    """The window above.

    Over several workers each holds some columns of G.  All must make the same calls with the same
    vectors: a push costs one all-reduce of m numbers, a product one all-gather of d.

    Args:
        num_grads: m, gradients in the window.
        dim: d, numbers in a gradient.
        damping: damp, above 0.
        dtype: of the gradients kept; a rounded gradient is *the* gradient from then on.
        device: where the window lives.
        process_group: workers that share the window out; None keeps it whole.

    Raises:
        ValueError: ``num_grads`` is below 1, or ``damping`` is not above 0.
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
    ) -> None:
        check_window_settings(num_grads, damping, dtype)
        self.num_grads = num_grads
        self.dim = dim
        self.damping = damping
        self.columns = WorkerColumns(dim, process_group)
        self.rows = GradientRows(num_grads, self.columns.num_own, dtype=dtype, device=device)
        self.system = DampedGram(num_grads, ridge=num_grads * damping, device=device)
        self.num_pushed = 0
        self._newest: tuple[int, Tensor] | None = None  # slot, A^-1 e_slot
        self._gathered: list[Tensor] | None = None
        self._warned = False

    @property
    def num_filled(self) -> int:
        """Gradients in the window: at most ``num_grads``."""
        return min(self.num_pushed, self.num_grads)

    def push(self, g: Tensor) -> bool:
        """Let ``g`` ``(dim,)`` take the place of the oldest gradient.

        Returns:
            False if ``g`` is not finite: the window is then what it was.
        """
        values, scale = self.rows.narrow_down(g.to(self.rows.values.device))
        values = values[self.columns.own]
        products = torch.zeros_like(self.rows.scales)
        filled, slot = self.num_filled, self.num_pushed % self.num_grads
        products[:filled] = self.rows.dot(values, count=filled) * scale
        products[slot] = self.rows.dot_unscaled(values.unsqueeze(0), values)[0] * scale**2
        products = self.columns.all_reduce(products)
        largest = float(products.abs().max())
        if not math.isfinite(largest):
            return False
        self._warn_of_rounding(largest)
        self.rows.replace(slot, values, scale)
        self._newest = slot, self.system.exchange(slot, products)
        self.num_pushed += 1
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
        blocks = [self.columns.gather_rows(block, to=to) for block in self._blocks()]
        self._gathered = None
        if self.columns.rank == to:
            self._gathered = [block for block in blocks if block is not None]

    def state_dict(self, *, with_rows: bool = True) -> dict[str, Any]:
        """Everything, as tensors and plain numbers; the tensors are the live ones.

        Half-precision rows go as ``int16`` of the same bits: fairseq, when it writes a checkpoint,
        turns half precision into float32.  Rows are left out if ``with_rows`` is False, or if
        there are several workers and :meth:`consolidate` was not called on all since the last push.
        """
        if with_rows and self.columns.num_workers > 1 and self._gathered is None:
            logger.warning(
                "M-FAC: this state lacks the window's gradients, which lie with several workers: "
                "call consolidate_state_dict() on all of them, then state_dict() on one"
            )
            with_rows = False
        blocks = self._gathered if self._gathered is not None else self._blocks()
        state: dict[str, Any] = {
            "num_grads": self.num_grads,
            "dim": self.dim,
            "damping": self.damping,
            "num_pushed": self.num_pushed,
            "rows": None,
        }
        if with_rows:
            state["dtype"] = str(self.rows.values.dtype).removeprefix("torch.")
            state["rows"] = [_as_saved(block) for block in blocks]
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
        if state["rows"] is None:
            if state["num_pushed"]:
                logger.warning(
                    "M-FAC: the saved state lacks the window's gradients; the window begins empty, "
                    "as in a new run, and fills up over the next %d steps",
                    self.num_grads,
                )
            self.system = DampedGram(
                self.num_grads, ridge=self.system.ridge, device=self.rows.values.device
            )
            return
        saved_dtype = getattr(torch, state["dtype"])
        same_size = state["num_grads"] == self.num_grads
        slots, self.num_pushed = _slots_to_keep(state, self.num_grads)
        self._load_rows(state, slots, saved_dtype)
        device, filled = self.rows.values.device, len(slots)
        if same_size and saved_dtype is self.rows.values.dtype:
            self.system.gram = state["gram"].to(device, copy=True)
            self.system.inverse = state["inverse"].to(device, copy=True)
            if state["damping"] != self.damping:
                self.system.factorise()
            return
        if saved_dtype is self.rows.values.dtype:
            index = torch.tensor(slots, dtype=torch.long, device=device)
            gram = state["gram"].to(device)[index][:, index]
        else:
            gram = self.columns.all_reduce(self.rows.gram(count=filled))
        self.system.gram.zero_()
        self.system.gram[:filled, :filled] = gram
        self.system.factorise()
        logger.info(
            "M-FAC: the saved window holds %d of %d gradients in %s; this one, of %d in %s, keeps "
            "the newest %d",
            min(state["num_pushed"], state["num_grads"]),
            state["num_grads"],
            state["dtype"],
            self.num_grads,
            str(self.rows.values.dtype).removeprefix("torch."),
            filled,
        )

    def _warn_of_rounding(self, squared_norm: float) -> None:
        """Say once when rounding errors of the products weigh more than the damping."""
        noise = squared_norm * torch.finfo(self.rows.compute_dtype).eps
        if noise > self.system.ridge and not self._warned:
            self._warned = True
            logger.warning(
                "M-FAC: gradients of norm %.2g are too long for damping %g in float32: rounding "
                "weighs more than the damping, and steps may be noise. Average the loss over the "
                "batch, clip, or use a damping above %.1g",
                squared_norm**0.5,
                self.damping,
                noise / self.num_grads,
            )

    def _blocks(self) -> list[Tensor]:
        """The filled rows, block by block: views of them."""
        filled = self.rows.values[: self.num_filled]
        row_bytes = max(1, self.dim * filled.element_size())
        return list(filled.split(max(1, SAVED_BLOCK_BYTES // row_bytes))) if len(filled) else []

    def _load_rows(self, state: dict[str, Any], slots: list[int], dtype: torch.dtype) -> None:
        """Rows ``slots`` of a saved window become the first rows of this one."""
        rows_in_block = len(state["rows"][0]) if state["rows"] else 1
        for target, slot in enumerate(slots):
            saved = state["rows"][slot // rows_in_block][slot % rows_in_block]
            values, scale = saved.view(dtype), float(state["scales"][slot])
            if dtype is not self.rows.values.dtype:
                wide = values.to(self.rows.compute_dtype) * scale
                values, scale = self.rows.narrow_down(wide)
            self.rows.replace(target, values[self.columns.own], scale)


def check_window_settings(num_grads: int, damping: float, dtype: torch.dtype) -> None:
    """Raise ValueError for settings that cannot make a window."""
    if num_grads < 1:
        raise ValueError(f"num_grads={num_grads}: the window must hold at least 1 gradient")
    if not 0 < damping < math.inf:
        raise ValueError(
            f"damping={damping}: must be above 0 and finite, or the Fisher matrix has no inverse "
            "(1e-6 is the published value)"
        )
    if dtype not in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"{dtype}: a window holds float64, float32, bfloat16 or float16")


def _as_saved(block: Tensor) -> Tensor:
    return block.view(torch.int16) if block.element_size() == 2 else block


def _slots_to_keep(state: dict[str, Any], num_grads: int) -> tuple[list[int], int]:
    """Saved slots to load, in the order of this window's, and its count of pushes."""
    pushed, saved = state["num_pushed"], state["num_grads"]
    if saved == num_grads:
        return list(range(min(pushed, saved))), pushed
    kept = min(pushed, saved, num_grads)
    return [(pushed - kept + i) % saved for i in range(kept)], kept
