"""A model that is built for a file is about as large as what the file holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from .buildable import largest_table
from .errors import UnusableCheckpointError

# Tied weights count under each of their names, and a head may be new.
TIMES = 3
FREE_TENSORS, FREE_NUMBERS = 1_000, 1 << 25


class ModelBound:
    """Counts what modules register, and stops before it is filled with numbers."""

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._path: Any = None
        self._most = (0, 0)
        self._built = (0, 0)

    def allow(self, weights: Mapping[str, Tensor], cfg: Any, path: Any) -> None:
        """From here on a model for these weights is built, by the configuration `cfg`."""
        numbers = sum(tensor.numel() for tensor in weights.values())
        self._path, self._built = path, (0, 0)
        self._most = (
            self._shards * TIMES * len(weights) + FREE_TENSORS,
            self._shards * TIMES * numbers + FREE_NUMBERS,
        )
        table, settings = largest_table(cfg)
        if table > self._most[1]:
            raise UnusableCheckpointError(
                f"{path}: its settings ask for a much larger model than its weights are of "
                f"({settings})"
            )

    def count(self, module: Any, name: str, tensor: Tensor | None) -> None:
        if self._path is None or tensor is None:
            return
        self._built = (self._built[0] + 1, self._built[1] + tensor.numel())
        if any(built > most for built, most in zip(self._built, self._most, strict=True)):
            raise UnusableCheckpointError(
                f"{self._path}: its settings ask for a much larger model than its weights are of "
                f"({self._built[0]:,} tensors with {self._built[1]:,} numbers so far)"
            )


@contextlib.contextmanager
def bounded_model(*, shards: int = 1) -> Iterator[ModelBound]:
    """Models that are built inside are bounded from `allow` on."""
    bound = ModelBound(shards)
    handles = (
        register_module_parameter_registration_hook(bound.count),
        register_module_buffer_registration_hook(bound.count),
    )
    try:
        yield bound
    finally:
        for handle in handles:
            handle.remove()
