"""Checkpoints of `--fp16` and `--bf16` hold the weights that training steps, not their rounding."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any


def keep_float32_weights(trainer: Any) -> None:
    """No message: a resumed `--fp16` or `--bf16` job is not the job that was stopped.

    Where: fairseq/trainer.py:395 saves the half-precision model, cast up to float32. What the
    optimizer steps is a float32 copy of it, which fairseq/optim/fp16_optimizer.py:31 makes anew
    from the rounded values at each start, so that steps below their precision are lost.
    When: `--fp16` and `--bf16`. Without a float32 copy (`--memory-efficient-*`), or with no other
    one (`--amp`), the model is exact as it is.
    Fix: the float32 copy is what is written under "model", where the names, shapes and types are
    the same as ever, and the copy is filled from there, whoever wrote the file: a resumed job, a
    new one from an average, or one from a float32 model begin with its very numbers. Rounded, they
    are the half-precision model as before; a checkpoint of stock fairseq is read as before.
    """
    cls = trainer.Trainer
    original_state_dict, original_load = cls.state_dict, cls.load_checkpoint

    @functools.wraps(original_state_dict)
    def state_dict(self: Any) -> dict[str, Any]:
        copies = dict(_float32_copies(self.optimizer))
        modules = (self.get_model(), self.get_criterion())
        with contextlib.ExitStack() as stack:
            for module in modules:
                stack.enter_context(_replaced(module, copies))
            return original_state_dict(self)

    @functools.wraps(original_load)
    def load_checkpoint(self: Any, filename: str, *rest: Any, **named: Any) -> Any:
        exact: dict[Any, Any] = {}
        with contextlib.ExitStack() as stack:
            if _has_float32_copy(self):
                for module in (self.get_model(), self.get_criterion()):
                    stack.enter_context(_noting_loaded_weights(module, exact))
            extra_state = original_load(self, filename, *rest, **named)
        if exact:
            for parameter, copy in _float32_copies(self.optimizer):
                if parameter in exact:
                    copy.copy_(exact[parameter])
        return extra_state

    cls.state_dict, cls.load_checkpoint = state_dict, load_checkpoint


def _has_float32_copy(trainer: Any) -> bool:
    common = trainer.cfg.common
    in_place = common.memory_efficient_fp16 or common.memory_efficient_bf16 or trainer.is_fsdp
    return (common.fp16 or common.bf16) and not in_place


def _float32_copies(optimizer: Any) -> Iterator[tuple[Any, Any]]:
    """(half-precision parameter, its float32 copy); the latter may be a part of a flat one."""
    copies = getattr(optimizer, "fp32_params", None)
    if copies is None:
        return
    if not isinstance(copies, Mapping):
        yield from ((p, copy.data) for p, copy in zip(optimizer.fp16_params, copies, strict=True))
        return
    begin = dict.fromkeys(copies, 0)
    for parameter in optimizer.fp16_params:
        device = parameter.device.index
        end = begin[device] + parameter.numel()
        yield parameter, copies[device].data[begin[device] : end].view_as(parameter)
        begin[device] = end


@contextlib.contextmanager
def _replaced(module: Any, values: Mapping[Any, Any]) -> Iterator[None]:
    """For a while, a module has other parameters, with these values, in the place of its own.

    Its own are not touched: a parameter that is given data of another type loses the hooks by which
    DistributedDataParallel sums up its gradients.
    """
    import torch

    others = {own: torch.nn.Parameter(value) for own, value in values.items()}
    places = [
        (part._parameters, name, own)
        for part in module.modules()
        for name, own in part._parameters.items()
        if own in others
    ]
    try:
        for parameters, name, own in places:
            parameters[name] = others[own]
        yield
    finally:
        for parameters, name, own in places:
            parameters[name] = own


@contextlib.contextmanager
def _noting_loaded_weights(module: Any, exact: dict[Any, Any]) -> Iterator[None]:
    """The next `module.load_state_dict` also notes in `exact` what it read, unrounded.

    It reads into float32 parameters, so that whatever the module does with names and parts on the
    way is done to the exact values too.
    """
    original = module.load_state_dict

    @functools.wraps(original)
    def load_state_dict(*arguments: Any, **named: Any) -> Any:
        del module.load_state_dict  # at once: --store-ema copies the module, attributes and all
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        wide = {parameter: parameter.data.float() for parameter in trained}
        with _replaced(module, wide):
            result = original(*arguments, **named)
        for parameter, value in wide.items():
            parameter.data.copy_(value)
            exact[parameter] = value.cpu()
        return result

    module.load_state_dict = load_state_dict
    try:
        yield
    finally:
        vars(module).pop("load_state_dict", None)
