"""Parameter groups of M-FAC: what one may hold, which parameters are where, and its step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch import Tensor

# What groups have had since some of them do without the window.
BESIDE_THE_WINDOW = {"in_window": True, "betas": (0.9, 0.999), "eps": 1e-8}


def check_mfac_group(group: dict[str, Any]) -> None:
    """Raise ValueError for hyper-parameters out of range."""
    if not 0 <= float(group["lr"]) < math.inf:
        raise ValueError(f"lr={group['lr']}: must be 0 or more, and finite")
    if not 0 <= group["momentum"] < 1:
        raise ValueError(f"momentum={group['momentum']}: must lie in [0, 1)")
    for name in ("weight_decay", "decoupled_weight_decay"):
        if not 0 <= group[name] < math.inf:
            raise ValueError(f"{name}={group[name]}: must be 0 or more, and finite")
    if not all(0 <= beta < 1 for beta in group["betas"]):
        raise ValueError(f"betas={group['betas']}: each must lie in [0, 1)")
    if not 0 <= group["eps"] < math.inf:
        raise ValueError(f"eps={group['eps']}: must be 0 or more, and finite")


def with_gradient(
    groups: Iterable[dict[str, Any]], *, in_window: bool
) -> list[tuple[Tensor, dict[str, Any]]]:
    """Parameters that have a gradient, and their groups."""
    chosen = (group for group in groups if group["in_window"] == in_window)
    return [(p, group) for group in chosen for p in group["params"] if p.grad is not None]


def numbers_outside(groups: Iterable[dict[str, Any]]) -> list[int]:
    """Of the parameters that stand beside the window, as torch numbers them in a state."""
    inside = [group["in_window"] for group in groups for _ in group["params"]]
    return [number for number, there in enumerate(inside) if not there]


def move(param: Tensor, group: dict[str, Any], direction: Tensor) -> None:
    """Step against ``direction`` at the group's rate, with its decoupled weight decay."""
    lr = float(group["lr"])
    if group["decoupled_weight_decay"]:
        param.mul_(1 - lr * group["decoupled_weight_decay"])
    param.add_(direction.view_as(param).to(param.device), alpha=-lr)
