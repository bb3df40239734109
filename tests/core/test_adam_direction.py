"""Adam's direction is torch's."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tupe_plugin.core.adam_direction import adam_direction


def test_equals_torch() -> None:
    generator = torch.Generator().manual_seed(1)
    start, *gradients = torch.randn(8, 3, 5, generator=generator, dtype=torch.float64)
    gradients[2].zero_()
    param = nn.Parameter(start.clone())
    theirs = torch.optim.Adam([param], lr=0.5, betas=(0.7, 0.9), eps=1e-3)
    state: dict[str, Any] = {}
    for g in gradients:
        before, param.grad = param.detach().clone(), g
        theirs.step()
        ours = adam_direction(state, g, betas=(0.7, 0.9), eps=1e-3)
        torch.testing.assert_close(before - 0.5 * ours, param.detach(), rtol=1e-10, atol=1e-10)


def test_first_step_without_epsilon_is_the_sign() -> None:
    g = torch.tensor([[2.0, -1e-20], [3e9, -0.5]], dtype=torch.float64)
    torch.testing.assert_close(adam_direction({}, g, betas=(0.9, 0.999), eps=0.0), g.sign())
