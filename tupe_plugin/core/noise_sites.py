"""Where noise enters an encoder: word embeddings, attention weights, attention logits.

    words     E[tokens] + R                       R: (batch, seq, embed)
    weights   (dropout(softmax(S)) + R) V         R: (batch, heads, query, key), for each layer
    logits    dropout(softmax(S + R)) V           the same

A site is a context: within ``entering(noise)`` the model's passes have the noise; nothing of the
model's own code knows of it.  Noise on the weights is added behind softmax and dropout, so that it
is a product of its own beside the attention, R V, whatever kernel computes the latter.  Padding
gets no noise: neither as a word, nor as a key or query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .attention import MultiheadSelfAttention
from .encoder import TupeEncoder, compute_dtype
from .perturbation import Noise, NoiseSpace


class NoiseSite(Protocol):
    """A place for noise in one encoder."""

    def space(self, tokens: Tensor) -> NoiseSpace:
        """The noise that a batch ``(batch, seq)`` can have here."""

    def entering(self, noise: Noise | None) -> Any:
        """Context in which the encoder's passes have this noise; None is none."""


class WordNoise:
    """Noise on the word embeddings, before LayerNorm and dropout."""

    def __init__(self, encoder: TupeEncoder) -> None:
        self._embedding = encoder.embed_tokens
        self._padding_idx = encoder.padding_idx

    def space(self, tokens: Tensor) -> NoiseSpace:
        words = tokens.ne(self._padding_idx).unsqueeze(-1)
        allowed = words.expand(-1, -1, self._embedding.embedding_dim)
        weight = self._embedding.weight.detach()
        rounding = None
        epsilon = torch.finfo(compute_dtype(weight)).eps
        if epsilon > torch.finfo(torch.float32).eps:
            rounding = epsilon * weight[tokens[words[..., 0]]].float().square().mean().sqrt()
        return NoiseSpace((allowed,), _wide(weight), rounding)

    @contextmanager
    def entering(self, noise: Noise | None) -> Iterator[None]:
        if noise is None:
            yield
            return
        (of_words,) = noise

        def add(module: nn.Module, args: Any, embedded: Tensor) -> Tensor:
            return embedded + of_words.to(embedded.dtype)

        hook = self._embedding.register_forward_hook(add)
        try:
            yield
        finally:
            hook.remove()


AttentionWithNoise = Callable[..., Tensor]
"""(attention, noise, query, key, value, its options) -> ``(batch, heads, query, head_dim)``."""


def weight_noise(
    attention: Callable[..., Tensor],
    noise: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    **options: Any,
) -> Tensor:
    """Attention whose weights have noise: linear in them, so R V beside the attention itself."""
    return attention(query, key, value, **options) + noise.to(value.dtype) @ value


def logit_noise(
    attention: Callable[..., Tensor],
    noise: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    attn_mask: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Attention whose logits have noise: one more additive bias."""
    bias = noise.to(query.dtype)
    mask = bias if attn_mask is None else attn_mask + bias
    return attention(query, key, value, attn_mask=mask, **options)


class AttentionNoise:
    """Noise in the attention of some layers.

    Args:
        encoder: whose attention it is.
        with_noise: :func:`weight_noise` or :func:`logit_noise`.
        layers: numbers from 0 on; None is all.

    Raises:
        ValueError: the encoder lacks a layer.
    """

    def __init__(
        self,
        encoder: TupeEncoder,
        with_noise: AttentionWithNoise,
        *,
        layers: Sequence[int] | None = None,
    ) -> None:
        count = len(encoder.layers)
        for number in layers or ():
            if not 0 <= number < count:
                raise ValueError(f"there is no layer {number}: the encoder's are 0 to {count - 1}")
        self._attentions: list[MultiheadSelfAttention] = [
            encoder.layers[number].self_attn  # type: ignore[misc]
            for number in (range(count) if layers is None else layers)
        ]
        self._with_noise = with_noise
        self._padding_idx = encoder.padding_idx

    def space(self, tokens: Tensor) -> NoiseSpace:
        words = tokens.ne(self._padding_idx)
        both = words[:, None, :, None] & words[:, None, None, :]
        allowed = tuple(both.expand(-1, a.num_heads, -1, -1) for a in self._attentions)
        return NoiseSpace(allowed, _wide(self._attentions[0].in_proj_weight))

    @contextmanager
    def entering(self, noise: Noise | None) -> Iterator[None]:
        with ExitStack() as entered:
            if noise is not None:
                for module, of_layer in zip(self._attentions, noise, strict=True):
                    entered.enter_context(_attention_of(module, self._with_noise, of_layer))
            yield


@contextmanager
def _attention_of(
    module: MultiheadSelfAttention, with_noise: AttentionWithNoise, noise: Tensor
) -> Iterator[None]:
    attention = module.attention
    module.attention = lambda *args, **options: with_noise(attention, noise, *args, **options)
    try:
        yield
    finally:
        module.attention = attention


def _wide(parameter: Tensor) -> torch.dtype:
    """Type of the noise: at least float32."""
    return torch.promote_types(parameter.dtype, torch.float32)
