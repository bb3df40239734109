"""A window of the largest entries of each gradient; what is left out waits and comes in later.

    x  = xi + g                 what waits, and the new gradient
    c  = top-k of x, by block   enters the window in the place of the oldest
    xi = x - c                  waits on
    u  = F^-1 c                 for F = damp I + (1/m) C^T C,   C = the last m of the c

Nothing is lost: the c that have entered and what waits add up to all gradients.  Numbers of c that
are kept in half precision are rounded first, and what rounding takes off waits too.  So a model of
110 million parameters has a window of 1024 gradients in 5 GB at a density of 1 %, not in 450.

Source: EFCP, "Error Feedback Can Accurately Compress Preconditioners" (arXiv 2306.06098),
algorithm 1 and section 4 for M-FAC: the step is along the compressed gradient, not the new one.

| paper            | here                                          |
|------------------|-----------------------------------------------|
| xi               | ``feedback``                                  |
| c                | :meth:`SparseRows.choose`, rounded            |
| k / d            | ``density``                                   |
| B_d, block       | ``BLOCK_COLUMNS``                             |
| G                | ``window`` (:class:`FisherWindow`)            |
"""

from __future__ import annotations

import logging
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .fisher_window import FisherWindow
from .gradient_rows import largest_magnitude
from .sparse_rows import SparseRows

logger = logging.getLogger(__name__)


class CompressedWindow:
    """The window above: a :class:`FisherWindow` over the c, and xi.

    Over several workers each holds some whole blocks.

    Args:
        num_grads: m, gradients in the window.
        dim: d, numbers in a gradient.
        density: share of the numbers of a gradient that enters, above 0, up to 1.
        damping: damp, above 0.
        dtype: of the numbers kept.
        device: where the window lives.
        process_group: workers that share it out; None keeps it whole.

    Raises:
        ValueError: as :class:`FisherWindow`.
    """

    def __init__(
        self,
        num_grads: int,
        dim: int,
        *,
        density: float,
        damping: float,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        self.window = FisherWindow(
            num_grads,
            dim,
            damping=damping,
            dtype=dtype,
            device=device,
            process_group=process_group,
            density=density,
        )
        assert isinstance(self.window.rows, SparseRows)
        self.rows = self.window.rows
        self.columns = self.window.columns
        self.feedback = torch.zeros(
            self.columns.num_own, dtype=self.rows.compute_dtype, device=device
        )
        """xi, of this worker's columns."""
        self._gathered: Tensor | None = None

    @property
    def num_pushed(self) -> int:
        """Gradients so far."""
        return self.window.num_pushed

    def push(self, g: Tensor) -> bool:
        """Let c of ``g`` ``(dim,)`` take the place of the oldest.

        Returns:
            False if ``g`` is not finite: window and feedback are then what they were.
        """
        own = g[self.columns.own].to(self.feedback.device, self.feedback.dtype)
        chosen = self.rows.choose(self.feedback, own)
        largest = self.columns.largest(largest_magnitude(chosen.values))
        row = self.rows.rounded(chosen, largest=largest)
        if not self.window.push_row(row):
            return False
        self.feedback.add_(own)
        self.rows.add_(self.feedback, row, factor=-1.0)
        self._gathered = None
        return True

    def newest_inverse_product(self) -> Tensor:
        """F^-1 c for the gradient pushed last: ``(dim,)``.

        Raises:
            RuntimeError: nothing was pushed since the window was made or loaded.
        """
        return self.window.newest_inverse_product()

    def newest_error(self, product: Tensor) -> float:
        """As :meth:`FisherWindow.newest_error`: of F^-1 c, whatever compression has left out."""
        return self.window.newest_error(product)

    def inverse_product(self, v: Tensor) -> Tensor:
        """F^-1 v for any ``(dim,)``."""
        return self.window.inverse_product(v)

    def consolidate(self, to: int = 0) -> None:
        """As :meth:`FisherWindow.consolidate`."""
        self.window.consolidate(to)
        if self.columns.num_workers > 1:
            whole = self.columns.gather_rows(self.feedback.unsqueeze(0), to=to)
            self._gathered = None if whole is None else whole[0]

    def state_dict(self, *, with_rows: bool = True) -> dict[str, Any]:
        """As :meth:`FisherWindow.state_dict`, and the feedback if there are rows."""
        state = self.window.state_dict(with_rows=with_rows)
        if state["rows"] is not None:
            state["feedback"] = self.feedback if self._gathered is None else self._gathered
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a window, compressed or not.

        With another density its gradients are cut anew, block by block; what is cut off them is
        gone, as they have entered once.  The feedback is taken over as it is.

        Raises:
            ValueError: the gradients have another number of elements.
        """
        self.window.load_state_dict(state)
        self._gathered = None
        feedback = state.get("feedback")
        saved, own = state.get("density", 1.0), self.rows.blocks.density
        if state["rows"] is not None and saved != own:
            logger.warning(
                "M-FAC: the saved window is of density %g and this one of %g: each of its "
                "gradients keeps the largest of the entries that it has, and the error feedback %s",
                saved,
                own,
                "begins at zero" if feedback is None else "is taken over",
            )
        if feedback is None:
            self.feedback.zero_()
        else:
            self.feedback.copy_(feedback[self.columns.own])
