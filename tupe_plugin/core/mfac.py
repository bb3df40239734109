"""M-FAC: natural-gradient steps from a window of past gradients, without forming a matrix.

    g <- grad + weight_decay w;   G <- (G, g), the last m
    u  = (damp I + (1/m) G^T G)^-1 g
    v <- mu v + (1 - mu) u
    w <- w - lr v

Groups beside the window step along Adam's direction instead of v (``adam_direction.py``);
``mfac_parameters.py`` makes such groups.

As long as m damp is small beside |g|^2, u is orthogonal to the other gradients of the window, and
g . u = m.  So a step lowers the loss of its batch by lr m, and what all batches share by lr m / N
for N gradients in the window: after m steps, or more of them, by lr.

How u is computed is in ``fisher_window.py``; ``compressed_window.py`` keeps the largest entries of
each g, and steps along F^-1 of those.  The first step has u = m g / (|g|^2 + m damp): the
length of a step goes *down* with the length of the gradient, so gradients must come in their true
size (loss scale removed, averaged over the batch) and clipping changes the curvature that is seen.

Source: M-FAC (arXiv 2107.03356), section 3.2, and the authors' optimizer, whose weight decay is
the coupled one above and whose momentum averages u.  Settings published for BERT: lr 1e-4,
damp 1e-6, m 1024 (512 for MRPC and STS-B), batch 32, linear decay to 0.

| paper            | here                                        |
|------------------|---------------------------------------------|
| m                | ``num_grads``                               |
| lambda (damp)    | ``damping``                                 |
| eta              | ``lr``                                      |
| mu               | ``momentum``                                |
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .adam_direction import adam_direction, load_averages
from .available_memory import usable_device
from .compressed_window import CompressedWindow
from .fisher_window import FisherWindow
from .flat_parameters import FlatParameters, gradient_of
from .mfac_group import (
    BESIDE_THE_WINDOW,
    check_mfac_group,
    move,
    numbers_outside,
    with_gradient,
)
from .saved_window import check_saved_window
from .window_settings import check_window_memory, check_window_settings

logger = logging.getLogger(__name__)

# Steps from one measurement of their rounding to the next: 2 to 5 % of their time.
ERROR_INTERVAL = 64


class MFAC(torch.optim.Optimizer):
    """M-FAC over all trainable parameters together.

    There is one window: curvature between any two parameters counts.  So two groups are *not* two
    optimizers here; a group has its own lr, momentum and weight decays.  The window is laid out
    with the first step (or ``load_state_dict``) over the parameters that require gradients then;
    one whose ``grad`` is None at some step enters the window as zeros and stays as it is.

    A group with ``in_window`` False stands beside the window: it steps with Adam, at its own lr,
    ``betas`` and ``eps``; decays mean the same there.

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        num_grads: m, gradients in the window; memory is m times the parameters.
        damping: added to the Fisher matrix's diagonal, above 0; smaller means longer steps.
        momentum: mu, in [0, 1); 0 keeps no buffer.
        weight_decay: coupled: added to the gradient before it enters the window.
        decoupled_weight_decay: weights shrink by lr times this, beside the step.
        maximize: step uphill.
        density: share of each gradient that the window keeps: the largest entries of each 4,096,
            while the others wait and come in later.  1 keeps all; 0.01 takes 1/50 to 1/70 of the
            memory, and steps along the compressed gradient.
        window_dtype: of the gradients kept; default float32 (float64 for float64 parameters).
        window_device: where the window lives; default with the first parameter.
        process_group: workers that share the window out, each of which must step with the same
            gradients (as under DistributedDataParallel); None keeps a whole one in each process.
        save_window: whether ``state_dict`` holds the window's gradients.

    Raises:
        ValueError: a setting is out of range, or ``window_device`` is not there.
        MemoryError: the window does not fit; says how many bytes it takes and what lowers them.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-4,
        *,
        num_grads: int = 1024,
        damping: float = 1e-6,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        decoupled_weight_decay: float = 0.0,
        maximize: bool = False,
        density: float = 1.0,
        window_dtype: torch.dtype | None = None,
        window_device: torch.device | str | None = None,
        process_group: dist.ProcessGroup | None = None,
        save_window: bool = True,
    ) -> None:
        check_window_settings(num_grads, damping, window_dtype or torch.float32, density=density)
        self.num_grads = num_grads
        self.damping = damping
        self.density = density
        self.window_dtype = window_dtype
        self.window_device = None if window_device is None else usable_device(window_device)
        self.process_group = process_group
        self.save_window = save_window
        self.window: FisherWindow | CompressedWindow | None = None  # made by the first step
        self.num_skipped = 0
        self.step_error: float | None = None
        """Share of its length by which rounding has moved the step measured last."""
        self._flat: FlatParameters | None = None  # laid out with the window
        self._momentum_buffer: Tensor | None = None
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            **BESIDE_THE_WINDOW,
        }
        super().__init__(params, defaults)
        self._check_memory(FlatParameters(self.param_groups))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; only before the first step, which lays the window out."""
        if getattr(self, "window", None) is not None:
            raise RuntimeError(
                "MFAC: a parameter group cannot be added after the first step, because the "
                "window's gradients lack its parameters; make a new optimizer"
            )
        super().add_param_group(param_group)
        check_mfac_group(self.param_groups[-1])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update.  If a gradient is not finite, nothing changes but ``num_skipped``.

        Args:
            closure: computes the loss anew, with gradients.

        Returns:
            What the closure returns.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        inside, beside = (
            with_gradient(self.param_groups, in_window=there) for there in (True, False)
        )
        finite = all(bool(g.isfinite().all()) for p, _ in beside if (g := p.grad) is not None)
        if inside and finite:
            window, flat = self._window_and_layout()
            finite = window.push(flat.gradient(self.param_groups))
        if not finite:
            self.num_skipped += 1
            logger.warning(
                "M-FAC: gradient is not finite; step left out (%d so far)", self.num_skipped
            )
            return loss
        if inside:
            update = window.newest_inverse_product()
            # A short run sees some numbers, too: steps 1, 2, 4, ..., 64, 128, 192, ...
            count = window.num_pushed
            if self.step_error is None or count % ERROR_INTERVAL == 0 or count & (count - 1) == 0:
                self.step_error = window.newest_error(update)
            self._apply(flat, update)
        for param, group in beside:
            g = gradient_of(param, group, dtype=torch.promote_types(param.dtype, torch.float32))
            betas, eps = group["betas"], group["eps"]
            move(param, group, adam_direction(self.state[param], g, betas=betas, eps=eps))
        return loss

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Bring a shared-out window together on worker ``to``, whose state_dict() then has it.

        Every worker must call it.  It stays in the host memory of that worker until the next step.
        """
        if self.window is not None and self.save_window:
            self.window.consolidate(to)

    def state_dict(self) -> dict[str, Any]:
        """torch's state dict, and under ``"fisher_window"`` what belongs to all parameters.

        Size: num_grads times the parameters, unless ``save_window`` is False.
        """
        state = super().state_dict()
        window = self.window
        if window is None:
            return {**state, "fisher_window": None}
        joint = {
            **window.state_dict(with_rows=self.save_window),
            "num_skipped": self.num_skipped,
            "step_error": self.step_error,
            "momentum_buffer": self._momentum_buffer,
            "outside": numbers_outside(self.param_groups),
        }
        return {**state, "fisher_window": joint}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state, saved with any number of workers, window dtype or ``num_grads``.

        Raises:
            ValueError: it belongs to other parameters, or to another optimizer, or is damaged.
        """
        if "fisher_window" not in state_dict:
            raise ValueError("not a state of MFAC: it has no 'fisher_window'")
        state_dict = dict(state_dict)
        saved = state_dict.pop("fisher_window")
        if saved is not None:
            check_saved_window(saved)
            outside, own = saved.get("outside", []), numbers_outside(self.param_groups)
            if outside != own:
                raise ValueError(
                    f"M-FAC: the saved window leaves out {len(outside)} parameters, and this one "
                    f"{len(own)}: choose the same (--mfac-parameters, --mfac-rest), or start "
                    "with a new state (--reset-optimizer)"
                )
        super().load_state_dict(state_dict)
        load_averages(self.state, self.param_groups, state_dict)
        self.window, self._momentum_buffer, self.num_skipped = None, None, 0
        self.step_error = None
        if saved is None:
            return
        window, flat = self._window_and_layout()
        window.load_state_dict(saved)
        self.num_skipped = saved["num_skipped"]
        self.step_error = saved.get("step_error")
        if saved["momentum_buffer"] is not None:
            self._momentum_buffer = saved["momentum_buffer"].to(flat.device, flat.dtype, copy=True)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: everything but the process group."""
        settings = ("num_grads", "damping", "density", "window_dtype", "window_device")
        own = (*settings, "save_window", "window", "num_skipped", "step_error", "_momentum_buffer")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in own}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in BESIDE_THE_WINDOW.items():
                group.setdefault(name, value)
        self.__dict__.setdefault("process_group", None)
        # Pickled before there were others.
        self.__dict__.setdefault("density", 1.0)
        self.__dict__.setdefault("step_error", None)
        # Groups and parameters are other objects now than those that were laid out.
        self._flat = FlatParameters(self.param_groups) if self.window is not None else None

    def _window_and_layout(self) -> tuple[FisherWindow | CompressedWindow, FlatParameters]:
        """The window and what lies in it where, made now if they are not there."""
        if self.window is None or self._flat is None:
            flat = self._flat = FlatParameters(self.param_groups)
            self._check_memory(flat)
            settings: dict[str, Any] = {
                "damping": self.damping,
                "dtype": self.window_dtype or flat.dtype,
                "device": self.window_device or flat.device,
                "process_group": self.process_group,
            }
            if self.density == 1:
                self.window = FisherWindow(self.num_grads, flat.dim, **settings)
            else:
                self.window = CompressedWindow(
                    self.num_grads, flat.dim, density=self.density, **settings
                )
            if any(group["momentum"] for group in self.param_groups):
                self._momentum_buffer = torch.zeros(flat.dim, dtype=flat.dtype, device=flat.device)
        return self.window, self._flat

    def _apply(self, flat: FlatParameters, update: Tensor) -> None:
        """Step along ``update`` ``(dim,)``."""
        update = update.to(flat.device, flat.dtype)
        for param, group, columns in flat.slices:
            if param.grad is None:
                continue
            part = update[columns]
            if group["momentum"]:
                if self._momentum_buffer is None:  # switched on after the first step
                    self._momentum_buffer = torch.zeros_like(update)
                buffer = self._momentum_buffer[columns]
                part = buffer.mul_(group["momentum"]).add_(part, alpha=1 - group["momentum"])
            move(param, group, part)

    def _check_memory(self, flat: FlatParameters) -> None:
        """Raise MemoryError if the window does not fit where it will live."""
        check_window_memory(
            self.num_grads,
            flat.dim,
            self.window_dtype or flat.dtype,
            device=self.window_device or flat.device,
            density=self.density,
            workers=1 if self.process_group is None else dist.get_world_size(self.process_group),
        )
