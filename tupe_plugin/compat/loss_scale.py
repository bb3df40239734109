"""The loss scale of `--fp16` and `--amp`: taken out of gradients once, and kept over a restart."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

# Of fairseq's DynamicLossScaler, beside the scale: when it overflowed, and when it changed.
_COUNTERS = ("_iter", "_last_overflow_iter", "_last_rescale_iter", "_overflows_since_rescale")
# Of torch's GradScaler, beside its settings, which are the new job's.
_AMP_STATE = ("scale", "_growth_tracker")


def unscale_amp_gradients_once(amp_optimizer: ModuleType) -> None:
    """No message: with `--amp` on a GPU the optimizer sees gradients that are far too small.

    Where: fairseq/optim/amp_optimizer.py:58 and 63: `clip_grad_norm` unscales the gradients of the
    torch optimizer, `step` hands fairseq's wrapper of it to the same scaler, which keeps its notes
    by object, has none on the wrapper, and divides by the loss scale a second time.
    When: `--amp` with a scaler that is switched on. Adam hardly notices, since it normalises its
    steps (but for its epsilon); an optimizer for which the size of a gradient counts does.
    Fix: `step` names the torch optimizer, as `clip_grad_norm` does. If the gradients were not
    unscaled before, the scaler does so now.
    """
    original = amp_optimizer.AMPOptimizer.step

    @functools.wraps(original)
    def step(self: Any) -> None:
        self.scaler.step(self.optimizer)
        self.scaler.update()

    amp_optimizer.AMPOptimizer.step = step


def keep_loss_scale_counters(fp16_optimizer: Any) -> None:
    """No message: the loss scale of a resumed `--fp16` job rises at other updates.

    Where: fairseq/optim/fp16_optimizer.py:82 and 351 save the scale, but not how many updates ago
    it overflowed, by which it rises (`--fp16-scale-window`) and falls (`--fp16-scale-tolerance`).
    When: `--fp16`, `--memory-efficient-fp16`. Another scale means other roundings, another overflow
    an update more or less.
    Fix: the counters go into the optimizer's state. Stock fairseq leaves them alone there; where
    they are missing, they begin anew.
    """
    for mixin in (
        fp16_optimizer._FP16OptimizerMixin,
        fp16_optimizer._MemoryEfficientFP16OptimizerMixin,
    ):
        _add_to_state(mixin, "loss_scale_counters", _counters, _set_counters)


def keep_amp_loss_scale(amp_optimizer: Any) -> None:
    """No message: a resumed `--amp` job begins with the first loss scale again.

    Where: fairseq/optim/amp_optimizer.py has no `state_dict` of its own.
    When: `--amp` with a scaler that is switched on, that is, on a GPU.
    Fix: scale and growth counter go into the optimizer's state. Stock fairseq leaves them alone.
    """
    _add_to_state(amp_optimizer.AMPOptimizer, "amp_loss_scale", _amp_state, _set_amp_state)


def keep_amp_retries(trainer: Any) -> None:
    """No message: a resumed `--amp` job may drop a batch where the other one had tried it again.

    Where: fairseq/trainer.py:955 counts how often an overflowing batch was tried again, goes on
    counting at the next one, and saves nothing.
    When: `--amp` with a scaler that is switched on.
    Fix: the number goes into the checkpoint's `extra_state`, and comes back unless the optimizer
    is reset.
    """
    cls = trainer.Trainer
    original_state_dict, original_load = cls.state_dict, cls.load_checkpoint

    @functools.wraps(original_state_dict)
    def state_dict(self: Any) -> dict[str, Any]:
        state = original_state_dict(self)
        if self.cfg.common.amp:
            state["extra_state"]["amp_retries"] = self._amp_retries
        return state

    @functools.wraps(original_load)
    def load_checkpoint(
        self: Any, filename: str, reset_optimizer: bool = False, *rest: Any, **named: Any
    ) -> Any:
        extra_state = original_load(self, filename, reset_optimizer, *rest, **named)
        if self.cfg.common.amp and extra_state is not None and not reset_optimizer:
            self._amp_retries = extra_state.get("amp_retries", 0)
        return extra_state

    cls.state_dict, cls.load_checkpoint = state_dict, load_checkpoint


def stop_at_non_finite_gradients_without_a_scale(amp_optimizer: Any) -> None:
    """`AttributeError: 'GradScaler' object has no attribute '_backoff_factor'`.

    Where: fairseq/optim/amp_optimizer.py:77, which lowers a scale that there is none of; with one,
    the scaler leaves the step out, but a scaler that is switched off makes it, and the weights are
    no numbers from then on.
    When: `--amp` on CPU (see `scale_gradients_on_the_device_in_use`), gradients inf or NaN.
    Fix: the error by which fairseq's trainer ends a `--bf16` or float32 job in such a case; it
    writes `crash.pt` and names the layer first.
    """
    cls = amp_optimizer.AMPOptimizer
    original = cls.clip_grad_norm

    @functools.wraps(original)
    def clip_grad_norm(self: Any, max_norm: float, aggregate_norm_fn: Any = None) -> Any:
        if self.scaler.is_enabled():
            return original(self, max_norm, aggregate_norm_fn)
        norm = self.fp32_optimizer.clip_grad_norm(max_norm, aggregate_norm_fn)
        if not norm.isfinite().all():
            raise FloatingPointError(
                f"gradients are Nan/Inf (their norm is {norm.item()}), and --amp on a CPU has no "
                "loss scale to lower: try a lower --lr, or --clip-norm"
            )
        return norm

    cls.clip_grad_norm = clip_grad_norm


def _add_to_state(cls: Any, key: str, get: Any, put: Any) -> None:
    """Let an optimizer's state hold under `key` what `get` reads from its scaler."""
    original_state_dict, original_load = cls.state_dict, cls.load_state_dict

    @functools.wraps(original_state_dict)
    def state_dict(self: Any) -> dict[str, Any]:
        state = original_state_dict(self)
        value = None if self.scaler is None else get(self.scaler)
        return {**state, key: value} if value else state

    @functools.wraps(original_load)
    def load_state_dict(
        self: Any, state_dict: dict[str, Any], optimizer_overrides: Any = None
    ) -> None:
        original_load(self, state_dict, optimizer_overrides)
        if self.scaler is not None and state_dict.get(key):
            put(self.scaler, state_dict[key])

    cls.state_dict, cls.load_state_dict = state_dict, load_state_dict


def _counters(scaler: Any) -> dict[str, int]:
    return {name: getattr(scaler, name) for name in _COUNTERS}


def _set_counters(scaler: Any, saved: dict[str, int]) -> None:
    for name in _COUNTERS:
        setattr(scaler, name, saved[name])


def _amp_state(scaler: Any) -> dict[str, Any]:
    state = scaler.state_dict()  # empty, if it is switched off
    return {name: state[name] for name in _AMP_STATE if name in state}


def _set_amp_state(scaler: Any, saved: dict[str, Any]) -> None:
    if scaler.is_enabled():
        scaler.load_state_dict({**scaler.state_dict(), **saved})
