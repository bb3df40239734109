"""The loss scale of `--amp` is taken out of the gradients once, not twice."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any


def unscale_amp_gradients_once(amp_optimizer: ModuleType) -> None:
    """No message: with `--amp` on a GPU the optimizer sees gradients that are far too small.

    Where: fairseq/optim/amp_optimizer.py:58 and 63: `clip_grad_norm` unscales the gradients of the
    torch optimizer, `step` hands fairseq's wrapper of it to the same scaler, which keeps its notes
    by object, has none on the wrapper, and divides by the loss scale a second time.
    When: `--amp` with a scaler that is switched on. Adam hardly notices, since it normalises its
    steps (but for its epsilon); an optimizer for which the size of a gradient counts does.
    Cure: `step` names the torch optimizer, as `clip_grad_norm` does. If the gradients were not
    unscaled before, the scaler does so now.
    """
    original = amp_optimizer.AMPOptimizer.step

    @functools.wraps(original)
    def step(self: Any) -> None:
        self.scaler.step(self.optimizer)
        self.scaler.update()

    amp_optimizer.AMPOptimizer.step = step
