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

from .attention import compute_dtype
from .attention_access import SITES
from .encoder_view import EncoderView, view_of
from .perturbation import Noise, NoiseSpace


class NoiseSite(Protocol):
    """A place for noise in one encoder."""

    def space(self, tokens: Tensor) -> NoiseSpace:
        """The noise that a batch ``(batch, seq)`` can have here."""

    def entering(self, noise: Noise | None) -> Any:
        """Context in which the encoder's passes have this noise; None is none."""


def rms_vector(words: Tensor, is_word: Tensor) -> Tensor:
    """Root mean square length of a sentence's word vectors: ``(batch, 1, 1)``.

    Args:
        words: ``(batch, seq, embed)``.
        is_word: ``(batch, seq, 1)``, True where a token is no padding.
    """
    squares = words.square().sum(-1, keepdim=True).masked_fill(~is_word, 0.0)
    return (squares.sum(1, keepdim=True) / is_word.sum(1, keepdim=True).clamp(min=1)).sqrt()


def rms_entry(words: Tensor, is_word: Tensor) -> Tensor:
    """Root mean square of an entry of a sentence's word vectors; see `rms_vector`."""
    return rms_vector(words, is_word) / words.size(-1) ** 0.5


class WordNoise:
    """Noise on the word embeddings, before LayerNorm and dropout.

    Args:
        model: a model with an encoder, or a view of one.
        unit: what noise of size 1 is, `rms_vector` or `rms_entry`; None is 1.  It is of each
            sentence by itself, so that a sentence's noise does not depend on its batch.

    Raises:
        UnknownEncoderError: no table of ``views/`` fits the model.
    """

    def __init__(
        self,
        model: nn.Module | EncoderView,
        *,
        unit: Callable[[Tensor, Tensor], Tensor] | None = rms_vector,
    ) -> None:
        view = view_of(model)
        self._unit = unit
        self._embedding = view.word_embedding
        self._padding_idx = view.padding_idx

    def space(self, tokens: Tensor) -> NoiseSpace:
        words = _words(tokens, self._padding_idx).unsqueeze(-1)
        allowed = words.expand(-1, -1, self._embedding.embedding_dim)
        weight = self._embedding.weight.detach()
        epsilon, rounding, unit = torch.finfo(compute_dtype(weight)).eps, None, None
        is_narrow = epsilon > torch.finfo(torch.float32).eps
        if is_narrow or self._unit is not None:
            embedded = weight[tokens].to(_wide(weight))
            rounding = epsilon * rms_entry(embedded, words) if is_narrow else None
            unit = None if self._unit is None else self._unit(embedded, words)
        return NoiseSpace((allowed,), _wide(weight), rounding, unit)

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


class AttentionNoise:
    """Noise in the attention of some layers.

    Args:
        model: a model with an encoder, or a view of one.
        site: ``weights`` (behind the softmax) or ``logits`` (before it).
        layers: numbers from 0 on; None is all.
        shared: the size of a query's noise is that of all its heads and layers together, each of
            which gets its share, 1 / sqrt(heads of all layers); else each head's own.

    Raises:
        UnknownEncoderError: no table of ``views/`` fits the model.
        ValueError: the encoder lacks a layer, or there is no such site; on entering, the model
            checkpoints its gradients.
    """

    def __init__(
        self,
        model: nn.Module | EncoderView,
        site: str = "weights",
        *,
        layers: Sequence[int] | None = None,
        shared: bool = True,
    ) -> None:
        if site not in SITES:
            raise ValueError(f"site={site!r}: attention noise enters {' or '.join(SITES)}")
        view = view_of(model)
        count = len(view.attentions)
        for number in layers or ():
            if not 0 <= number < count:
                raise ValueError(f"there is no layer {number}: the encoder's are 0 to {count - 1}")
        numbers = range(count) if layers is None else layers
        self._attentions = [view.attentions[number] for number in numbers]
        self._access = view.family.access
        self._site = site
        self._padding_idx = view.padding_idx
        self._shared = shared
        self._layers = [view.layers[number] for number in numbers]

    def space(self, tokens: Tensor) -> NoiseSpace:
        words = _words(tokens, self._padding_idx)
        both = words[:, None, :, None] & words[:, None, None, :]
        heads = [self._access.num_heads(attention) for attention in self._attentions]
        allowed = tuple(both.expand(-1, number, -1, -1) for number in heads)
        parameter = next(self._attentions[0].parameters())
        dtype = _wide(parameter)
        unit = parameter.new_tensor(sum(heads), dtype=dtype).rsqrt() if self._shared else None
        return NoiseSpace(allowed, dtype, unit=unit)

    @contextmanager
    def entering(self, noise: Noise | None) -> Iterator[None]:
        if noise is not None and any(map(_is_made_again, self._layers)):
            raise ValueError(
                "attention noise does not go with gradient checkpointing, which makes a layer "
                "again without it: call model.gradient_checkpointing_disable(), or put the noise "
                "on the words"
            )
        with ExitStack() as entered:
            if noise is not None:
                for attention, of_layer in zip(self._attentions, noise, strict=True):
                    entered.enter_context(self._access.entering(attention, self._site, of_layer))
            yield


def _is_made_again(layer: nn.Module) -> bool:
    """Whether Hugging Face's gradient checkpointing runs the layer a second time, backwards."""
    return layer.training and bool(getattr(layer, "gradient_checkpointing", False))


def _words(tokens: Tensor, padding_idx: int | None) -> Tensor:
    """True where a token is no padding: ``(batch, seq)``."""
    return (
        torch.ones_like(tokens, dtype=torch.bool) if padding_idx is None else tokens.ne(padding_idx)
    )


def _wide(parameter: Tensor) -> torch.dtype:
    """Type of the noise: at least float32."""
    return torch.promote_types(parameter.dtype, torch.float32)
