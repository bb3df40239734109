"""Where a gradient stops being a number is said, whatever a module returns."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any


def look_at_the_gradients_of_every_output(nan_detector: Any) -> None:
    """`StopIteration`, in place of `FloatingPointError: gradients are Nan/Inf` and the module.

    Where: fairseq/nan_detector.py:55 has torch find one tensor in what each module returns.
    When: a gradient is no number, and a module returns names of lists, as every encoder of a
    transformer does.
    Fix: the gradient of each tensor in an output is looked at when it is computed.
    """

    def add_hooks(self: Any, module: Any) -> None:
        if self.forward:
            self.fhooks.append(module.register_forward_hook(self.fhook_fn))
        if self.backward:
            self.bhooks.append(module.register_forward_hook(functools.partial(_watch, self)))

    nan_detector.NanDetector.add_hooks = add_hooks


def _watch(detector: Any, module: Any, given: Any, output: Any) -> None:
    for tensor in _tensors(output):
        if tensor.requires_grad:
            tensor.register_hook(functools.partial(detector.bhook_fn, module, given))


def _tensors(output: Any) -> Iterator[Any]:
    if hasattr(output, "register_hook"):
        yield output
    elif isinstance(output, (Mapping, list, tuple)):
        for part in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(part)
