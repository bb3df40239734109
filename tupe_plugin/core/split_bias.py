"""Query, key and value bias of one packed projection as three parameters, each trained or frozen.

    in_proj_bias  (3 embed,)   =   (b^Q, b^K, b^V),   each (embed,)

No part of a parameter can be frozen: under a masked gradient it still costs optimizer state and
still shrinks by weight decay.  So the packed bias is put together from three parameters in each
forward (``torch.nn.utils.parametrize``); :class:`MultiheadSelfAttention` notices nothing.  In a
state dict it stays what it is in the plain model: one tensor, ``in_proj_bias``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .attention import MultiheadSelfAttention

PARTS = ("query", "key", "value")
"""Order of the parts in ``in_proj_bias``."""

_PACKED = "in_proj_bias"
_APART = tuple(f"parametrizations.{_PACKED}.original{part}" for part in range(len(PARTS)))


class _Packed(nn.Module):
    """Three biases ``(embed,)`` <-> the packed one ``(3 embed,)``."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return torch.cat((query, key, value))

    def right_inverse(self, packed: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.clone() for part in packed.chunk(len(PARTS)))


def split_bias(attention: MultiheadSelfAttention) -> None:
    """Make the packed bias three parameters; nothing happens if it is so already.

    To be done before an optimizer takes the parameters.
    """
    if parametrize.is_parametrized(attention, _PACKED):
        return
    parametrize.register_parametrization(attention, _PACKED, _Packed())
    attention.register_state_dict_post_hook(_pack)
    attention.register_load_state_dict_pre_hook(_unpack)


def bias_parameter(attention: MultiheadSelfAttention, part: str) -> nn.Parameter:
    """The parameter that holds one of `PARTS`: of its own, or the packed one."""
    if not parametrize.is_parametrized(attention, _PACKED):
        return attention.in_proj_bias
    return attention.get_parameter(_APART[PARTS.index(part)])


# Functions, not methods of an object: a copied module must pack its own parameters.
def _pack(attention: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    parts = [state.pop(prefix + name) for name in _APART]
    state[prefix + _PACKED] = torch.cat(parts)


def _unpack(
    attention: nn.Module, state: dict[str, Any], prefix: str, metadata: Any, *rest: Any
) -> None:
    packed = state.pop(prefix + _PACKED, None)
    if packed is not None:
        state.update(
            (prefix + name, part)
            for name, part in zip(_APART, packed.chunk(len(PARTS)), strict=False)
        )
