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

from collections.abc import Iterable, Mapping, MutableMapping
from itertools import chain
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


def load_averages(
    state: MutableMapping[Tensor, Any],
    groups: Iterable[Mapping[str, Any]],
    saved: Mapping[str, Any],
) -> None:
    """Load saved averages in the type that they were saved in; torch gives them the parameter's.

    Args:
        state: of an optimizer, into which torch has loaded ``saved``; changed.
        groups: of that optimizer.
        saved: what its ``state_dict`` returned.
    """
    numbers = chain.from_iterable(group["params"] for group in saved["param_groups"])
    params = chain.from_iterable(group["params"] for group in groups)
    for number, param in zip(numbers, params, strict=True):
        for name, value in saved["state"].get(number, {}).items():
            kept = value.to(param.device, copy=True) if isinstance(value, Tensor) else value
            state[param][name] = kept
