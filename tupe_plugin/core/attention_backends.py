"""Ways to compute attention with an additive positional bias, under one signature, by name.

    logits  S = scale Q K^T + B + R_l          keys that are padding: -infinity
    context   = (dropout(softmax(S)) + R_w) V

| here              | in the equation, and its shape                                        |
|-------------------|-----------------------------------------------------------------------|
| ``query``, ``key``, ``value`` | Q, K, V: ``(batch, heads, seq, head_dim)``                |
| ``bias``          | B: ``(heads, query, key)``, one for the whole batch                    |
| ``key_padding``   | ``(batch, key)``, True = padding, attended to by nobody                |
| ``skip_padded_queries`` | nobody needs the context of padding, which may then be anything  |
| ``noise``         | R_l and R_w: ``(batch, heads, query, key)``, of adversarial methods    |
| ``dropout_p``     | probability to drop an attention weight                               |
| ``scale``         | factor on Q K^T                                                       |
| ``generator``     | of the dropout; None: torch's default                                 |

| name         | what it is                                                | gradient of B     |
|--------------|-----------------------------------------------------------|-------------------|
| ``explicit`` | the equation, step by step: what the others must equal    | autograd's        |
| ``sdpa``     | ``scaled_dot_product_attention``, on every device         | a batch's, summed |
| ``flex``     | FlexAttention: no dropout; not the same bits every run    | added up anywhere |
| ``triton``   | our kernel, for a GPU; the same bits every run            | summed inside     |

B is broadcast over the batch by all but ``explicit``. An additive mask that holds the padding too
would be a copy of B for each sentence. So ``sdpa`` puts the padding into the product: one more
feature, 1 in every query and a large negative number in the keys that are padding.

Source: Attention Is All You Need (arXiv 1706.03762), section 3.2; FlexAttention (arXiv 2412.05496).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from .triton_attention_launch import NO_LOGIT_NOISE, why_not_triton


class NoiseTerms(NamedTuple):
    """What adversarial methods add to a layer's attention: ``(batch, heads, query, key)``."""

    weights: Tensor | None = None
    logits: Tensor | None = None


NO_NOISE = NoiseTerms()


class Attention(Protocol):
    """A backend; see the tables above."""

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        bias: Tensor | None = None,
        key_padding: Tensor | None = None,
        skip_padded_queries: bool = False,
        noise: NoiseTerms = NO_NOISE,
        dropout_p: float = 0.0,
        scale: float,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """``(batch, heads, query, head_dim)``."""


def explicit_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None = None,
    key_padding: Tensor | None = None,
    skip_padded_queries: bool = False,
    noise: NoiseTerms = NO_NOISE,
    dropout_p: float = 0.0,
    scale: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The equation, step by step."""
    logits = (query * scale) @ key.transpose(-2, -1)
    for term in (bias, noise.logits):
        if term is not None:
            logits = logits + term.to(logits.dtype)
    if key_padding is not None:
        lowest = torch.finfo(logits.dtype).min
        logits = logits.masked_fill(key_padding[:, None, None, :], lowest)
    weights = _dropout(torch.softmax(logits, dim=-1), dropout_p, generator)
    if noise.weights is not None:
        weights = weights + noise.weights.to(weights.dtype)
    return weights @ value


def sdpa_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None = None,
    key_padding: Tensor | None = None,
    skip_padded_queries: bool = False,
    noise: NoiseTerms = NO_NOISE,
    dropout_p: float = 0.0,
    scale: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """torch's own, with the kernel that it finds.

    Raises:
        ValueError: a generator is given, which it has no argument for.
    """
    if generator is not None and dropout_p:
        raise ValueError("sdpa draws its dropout from torch's default generator: give no other")
    width, values = value.size(-1), value
    mask = _sum(bias, noise.logits, dtype=query.dtype)
    if key_padding is not None:
        if mask is None:
            padding = key_padding[:, None, None, :]
            mask = torch.zeros(padding.shape, dtype=query.dtype, device=padding.device)
            mask = mask.masked_fill(padding, -torch.inf)
        else:
            query, key, value = _with_padding_as_feature(query, key, value, key_padding)
    context = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=dropout_p, scale=scale
    )[..., :width]
    return _with_noise_on_weights(context, noise, values)


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None = None,
    key_padding: Tensor | None = None,
    skip_padded_queries: bool = False,
    noise: NoiseTerms = NO_NOISE,
    dropout_p: float = 0.0,
    scale: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """torch's FlexAttention; compiled on a GPU.

    Raises:
        ValueError: dropout is asked for, which it does not have; or gradients on a CPU.
    """
    if dropout_p or (torch.is_grad_enabled() and query.requires_grad):
        _check_flex(query.device, dropout_p)
    terms = [term for term in (bias, noise.logits) if term is not None]

    def changed(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        for term in terms:
            score = score + (term[h, i, j] if term.dim() == 3 else term[b, h, i, j])
        if key_padding is not None:
            score = torch.where(key_padding[b, j], -torch.inf, score)
        return score

    context = _flex(query.device.type)(query, key, value, score_mod=changed, scale=scale)
    return _with_noise_on_weights(context, noise, value)


def triton_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None = None,
    key_padding: Tensor | None = None,
    skip_padded_queries: bool = False,
    noise: NoiseTerms = NO_NOISE,
    dropout_p: float = 0.0,
    scale: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Our kernel; see `triton_attention.py`.

    Raises:
        ValueError: the logits have noise, or it is what `why_not_triton` names.
    """
    from .triton_attention import triton_attention as of_triton

    if noise.logits is not None:
        raise ValueError(NO_LOGIT_NOISE)
    seed = None
    if generator is not None:
        seed = torch.randint(2**63 - 1, (1,), device=query.device, generator=generator)
    dtype = value.dtype  # a positional query may have made the others wider
    context = of_triton(
        query.to(dtype),
        key.to(dtype),
        value,
        bias=bias,
        key_padding=key_padding,
        skip_padded_queries=skip_padded_queries,
        dropout_p=dropout_p,
        scale=scale,
        seed=seed,
    )
    return _with_noise_on_weights(context, noise, value)


BACKENDS: dict[str, Attention] = {
    "explicit": explicit_attention,
    "sdpa": sdpa_attention,
    "flex": flex_attention,
    "triton": triton_attention,
}
AUTO = "auto"
"""`sdpa`, until a measurement on the kind of device says that another one is faster."""


def check_backend(name: str, device: torch.device, *, head_dim: int, dropout_p: float) -> None:
    """Say before training what a backend would refuse in its first step.

    Raises:
        ValueError: it cannot train a model on this device, of this size or with this dropout.
    """
    if name == "flex":
        _check_flex(device, dropout_p)
    elif name == "triton":
        problem = why_not_triton(device, torch.float16, head_dim)
        if problem is not None:
            raise ValueError(problem)


def _check_flex(device: torch.device, dropout_p: float) -> None:
    if dropout_p:
        raise ValueError(
            f"flex has no dropout on attention weights, and {dropout_p} is asked for: choose sdpa"
        )
    if device.type == "cpu":
        raise ValueError("flex has no gradients on a CPU: choose sdpa")


def attention_backend(name: str) -> Attention:
    """A backend by its name, or `AUTO`.

    Raises:
        ValueError: there is no such backend.
    """
    if name == AUTO:
        return sdpa_attention
    if name not in BACKENDS:
        raise ValueError(f"no attention backend {name!r}: choose {', '.join([AUTO, *BACKENDS])}")
    return BACKENDS[name]


# Its weight is exactly 0 in float32, whose exp is 0 below -104: TUPE's scale times this is -424 for
# 2,500 features a head. It is a number of float16.
_FAR_BELOW = -30_000.0
_FEATURES = 8  # in which kernels of half precision want their vectors


def _with_padding_as_feature(
    query: Tensor, key: Tensor, value: Tensor, key_padding: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = (F.pad(x, (0, _FEATURES)) for x in (query, key, value))
    width = key.size(-1) - _FEATURES
    query[..., width] = 1.0
    key[..., width] = key_padding[:, None, :] * _FAR_BELOW
    return query, key, value


def _sum(bias: Tensor | None, noise: Tensor | None, *, dtype: torch.dtype) -> Tensor | None:
    """Broadcasts to ``(batch, heads, query, key)``."""
    terms = [term.to(dtype) for term in (bias, noise) if term is not None]
    if not terms:
        return None
    total = terms[0] if len(terms) == 1 else terms[0] + terms[1]
    return total if total.dim() == 4 else total.unsqueeze(0)


def _with_noise_on_weights(context: Tensor, noise: NoiseTerms, value: Tensor) -> Tensor:
    """(W + R) V = W V + R V, whatever has computed W V."""
    if noise.weights is None:
        return context
    return context + noise.weights.to(value.dtype) @ value


def _dropout(weights: Tensor, p: float, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        return F.dropout(weights, p)
    kept = torch.empty_like(weights).bernoulli_(1 - p, generator=generator)
    return weights * kept / (1 - p)


@cache
def _flex(device: str) -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention as of_torch

    kernel: Callable[..., Any] = of_torch
    return torch.compile(kernel) if device == "cuda" else kernel
