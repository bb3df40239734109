"""The trainable parameters of M-FAC's window as one long vector, and their gradient.

flat = (p_1, p_2, ...),  each parameter's elements in its columns
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class ParameterSlice(NamedTuple):
    """Where a parameter lies in the flat vector."""

    param: nn.Parameter
    group: dict[str, Any]
    columns: slice


class FlatParameters:
    """The layout over the parameters of groups in the window that require gradients now.

    Args:
        groups: of an optimizer, with ``in_window``, ``maximize`` and ``weight_decay``.

    Raises:
        ValueError: none of them requires a gradient.
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        self.slices: list[ParameterSlice] = []
        start = 0
        for group in groups:
            for param in group["params"]:
                if param.requires_grad and group["in_window"]:
                    columns = slice(start, start + param.numel())
                    self.slices.append(ParameterSlice(param, group, columns))
                    start = columns.stop
        if not self.slices:
            raise ValueError("MFAC: no parameter requires a gradient")
        self.dim = start
        """Elements of all together."""
        self.device = self.slices[0].param.device
        wide = any(entry.param.dtype is torch.float64 for entry in self.slices)
        self.dtype = torch.float64 if wide else torch.float32
        """Of vectors that are computed with."""

    def gradient(self, groups: list[dict[str, Any]]) -> Tensor:
        """``(dim,)``: gradients with coupled weight decay, zeros where there is none.

        Args:
            groups: the optimizer's as they are now.

        Raises:
            RuntimeError: a gradient is sparse, or of a parameter that has no columns.
        """
        flat = torch.zeros(self.dim, dtype=self.dtype, device=self.device)
        known = {id(entry.param) for entry in self.slices}
        if any(
            p.grad is not None and id(p) not in known
            for group in groups
            if group["in_window"]
            for p in group["params"]
        ):
            raise RuntimeError(
                "MFAC: a parameter that did not require gradients at the first step has one "
                "now, and the window lacks it; unfreeze before the first step, or make a new "
                "optimizer"
            )
        for param, group, columns in self.slices:
            if param.grad is not None:
                _fill_gradient(flat[columns], param, group)
        return flat


def gradient_of(param: Tensor, group: dict[str, Any], *, dtype: torch.dtype) -> Tensor:
    """Of one parameter, in its shape: with coupled weight decay, as in the flat vector.

    Raises:
        RuntimeError: it is sparse.
    """
    out = torch.empty(param.numel(), dtype=dtype, device=param.device)
    _fill_gradient(out, param, group)
    return out.view_as(param)


def _fill_gradient(out: Tensor, param: Tensor, group: dict[str, Any]) -> None:
    assert param.grad is not None
    if param.grad.is_sparse:
        raise RuntimeError("MFAC does not take sparse gradients: use sparse=False")
    out.copy_(param.grad.reshape(-1))
    if group["maximize"]:
        out.neg_()
    if group["weight_decay"]:
        decay = param.detach().reshape(-1).to(out.device, out.dtype)
        out.add_(decay, alpha=group["weight_decay"])
