"""Parameters far from their initial values, so that no zero bias or unit gain hides a mistake."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def randomized(module: M, *, seed: int = 1, std: float = 0.5) -> M:
    """The module in float64, every parameter drawn from N(0, std^2)."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=std, generator=generator)
    return module
