"""Adam's direction, for what trains beside M-FAC's window.

    m <- b1 m + (1 - b1) g,     v <- b2 v + (1 - b2) g^2
    u  = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

Source: Adam (arXiv 1412.6980), algorithm 1.  The step along -u, the rate and the weight decays are
those of the optimizer around it, which so has one rule for all of its parameters.

| paper         | here                                  |
|---------------|---------------------------------------|
| m_t, v_t, t   | ``exp_avg, exp_avg_sq, step``         |
| beta_1, beta_2 | ``betas``                            |
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def adam_direction(
    state: dict[str, Any], g: Tensor, *, betas: tuple[float, float], eps: float
) -> Tensor:
    """u for a gradient of one parameter.

    Args:
        state: of the parameter, empty at first; changed.
        g: in the type that is computed in, and kept in.
    """
    if not state:
        state.update(step=0, exp_avg=torch.zeros_like(g), exp_avg_sq=torch.zeros_like(g))
    state["step"] += 1
    mean = state["exp_avg"].mul_(betas[0]).add_(g, alpha=1 - betas[0])
    square = state["exp_avg_sq"].mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
    bias = [1 - beta ** state["step"] for beta in betas]
    return mean / (square / bias[1]).sqrt_().add_(eps).mul_(bias[0])
