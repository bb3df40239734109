"""Query, key and value bias of one packed projection as three parameters, each trained or frozen.

    packed  (3 embed,)   =   (b^Q, b^K, b^V),   each (embed,)

No part of a parameter can be frozen: under a masked gradient it still costs optimizer state and
still shrinks by weight decay.  So the packed bias is put together from three parameters in each
forward (``torch.nn.utils.parametrize``); the module notices nothing.  In a state dict it stays what
it is in the plain model: one tensor.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .encoder_family import PARTS


class _Packed(nn.Module):
    """Three biases ``(embed,)`` <-> the packed one ``(3 embed,)``."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return torch.cat((query, key, value))

    def right_inverse(self, packed: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.clone() for part in packed.chunk(len(PARTS)))


def split_bias(module: nn.Module, name: str) -> None:
    """Make the packed bias of this name three parameters; nothing happens if it is so already.

    To be done before an optimizer takes the parameters.
    """
    if parametrize.is_parametrized(module, name):
        return
    parametrize.register_parametrization(module, name, _Packed())
    module.register_state_dict_post_hook(partial(_pack, name))
    module.register_load_state_dict_pre_hook(partial(_unpack, name))


def bias_parameter(module: nn.Module, name: str, part: str) -> nn.Parameter:
    """The parameter that holds one of `PARTS`: of its own, or the packed one."""
    if not parametrize.is_parametrized(module, name):
        return module.get_parameter(name)
    return module.get_parameter(_split_names(name)[PARTS.index(part)])


def _split_names(name: str) -> tuple[str, ...]:
    return tuple(f"parametrizations.{name}.original{part}" for part in range(len(PARTS)))


# Functions, not methods of an object: a copied module must pack its own parameters.
def _pack(name: str, module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    parts = [state.pop(prefix + split) for split in _split_names(name)]
    state[prefix + name] = torch.cat(parts)


def _unpack(
    name: str, module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any, *rest: Any
) -> None:
    packed = state.pop(prefix + name, None)
    if packed is not None:
        split = (prefix + split for split in _split_names(name))
        state.update(zip(split, packed.chunk(len(PARTS)), strict=False))
