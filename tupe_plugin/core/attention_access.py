"""How noise enters the attention of a module that knows nothing of it.

    weights   (dropout(softmax(S)) + R) V  =  attention + R V        R: (batch, heads, query, key)
    logits    dropout(softmax(S + R)) V    =  attention with R added to its mask

Both are linear in what the module already takes or gives: noise on the weights is a product of its
own beside the attention, noise on the logits is one more additive mask.  So no kernel is rewritten.
An access is a context: within ``entering(attention, site, noise)`` the module's passes have it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .attention_backends import BACKENDS, NoiseTerms
from .triton_attention_launch import NO_LOGIT_NOISE

SITES = NoiseTerms._fields


class AttentionAccess(Protocol):
    """A way into the self-attention of a family of encoders."""

    def num_heads(self, attention: nn.Module) -> int:
        """Of this module."""

    def check(self, attention: nn.Module, site: str) -> None:
        """Raise a ValueError if passes of this module cannot have noise at this site."""

    def entering(self, attention: nn.Module, site: str, noise: Tensor) -> Any:
        """Context in which the module's passes have this noise at one of `SITES`."""


@dataclass(frozen=True)
class AttentionWithNoise:
    """The module has a place for it: ``noise``, which a pass hands to its backend."""

    def num_heads(self, attention: nn.Module) -> int:
        return int(attention.num_heads)  # type: ignore[arg-type]

    def check(self, attention: nn.Module, site: str) -> None:
        if site == "logits" and attention.attention is BACKENDS["triton"]:
            raise ValueError(NO_LOGIT_NOISE)

    @contextmanager
    def entering(self, attention: nn.Module, site: str, noise: Tensor) -> Iterator[None]:
        module: Any = attention
        before: NoiseTerms = module.noise
        module.noise = before._replace(**{site: noise})
        try:
            yield
        finally:
            module.noise = before


@dataclass(frozen=True)
class HookedAttention:
    """The module is left as it is: its mask is changed before, its output after a pass.

    Args:
        heads: attribute with the number of heads.
        source: argument of ``forward`` that is projected to the values.
        mask: argument of ``forward`` that is added to the logits.
        value: the value projection, an ``nn.Linear``.
        output: the output projection, if the module applies it itself.
        sequence_first: ``source`` is ``(seq, batch, embed)``, and the mask is
            ``(batch * heads, query, key)``; else ``(batch, seq, embed)`` and
            ``(batch, heads, query, key)``.
    """

    heads: str
    source: str
    mask: str
    value: str
    output: str | None = None
    sequence_first: bool = False

    def num_heads(self, attention: nn.Module) -> int:
        return int(getattr(attention, self.heads))

    def check(self, attention: nn.Module, site: str) -> None:
        """A module's own mask and output are always there."""

    @contextmanager
    def entering(self, attention: nn.Module, site: str, noise: Tensor) -> Iterator[None]:
        signature = inspect.signature(attention.forward)

        def into_mask(module: nn.Module, args: Any, kwargs: Any) -> Any:
            call = signature.bind(*args, **kwargs)
            source: Tensor = call.arguments[self.source]
            mask = call.arguments.get(self.mask)
            bias = noise.flatten(0, 1) if self.sequence_first else noise
            call.arguments[self.mask] = _added(bias.to(source.dtype), mask, self.mask)
            return call.args, call.kwargs

        def onto_output(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
            source: Tensor = signature.bind(*args, **kwargs).arguments[self.source]
            beside = self._noise_times_values(module, noise, source)
            if isinstance(output, tuple):
                return (output[0] + beside, *output[1:])
            return output + beside

        hook = (
            attention.register_forward_pre_hook(into_mask, with_kwargs=True)
            if site == "logits"
            else attention.register_forward_hook(onto_output, with_kwargs=True)
        )
        try:
            yield
        finally:
            hook.remove()

    def _noise_times_values(self, module: nn.Module, noise: Tensor, source: Tensor) -> Tensor:
        """R V as the module's output has it: heads beside each other, projected if it does so."""
        value = module.get_submodule(self.value)(source)
        if self.sequence_first:
            value = value.transpose(0, 1)
        batch, seq, width = value.shape
        by_head = value.view(batch, seq, self.num_heads(module), -1).transpose(1, 2)
        product = (noise.to(value.dtype) @ by_head).transpose(1, 2).reshape(batch, seq, width)
        if self.output is not None:  # without its bias, which the output has already
            output: Any = module.get_submodule(self.output)
            product = product @ output.weight.t().to(product.dtype)
        return product.transpose(0, 1) if self.sequence_first else product


def _added(bias: Tensor, mask: Any, name: str) -> Tensor:
    """A mask (None, True = attend, or additive) with ``bias`` on top."""
    if mask is None:
        return bias
    if not isinstance(mask, Tensor) or mask.dim() < 3:
        raise ValueError(
            f"noise on the attention logits needs an additive {name}, and this attention takes "
            "another kind: load the model with attn_implementation='sdpa' or 'eager'"
        )
    if mask.dtype == torch.bool:
        return bias.masked_fill(~mask, torch.finfo(bias.dtype).min)
    return bias + mask
