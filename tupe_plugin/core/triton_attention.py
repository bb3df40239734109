"""Flash attention with one additive bias for the whole batch, forward and backward, in Triton.

    S  = scale Q K^T + B            -inf where the key is padding
    P  = softmax(S) = exp(S - L)    L = log sum_keys exp(S)
    O  = (P * Z) V                  Z = 1/(1 - p) where dropout keeps a weight, else 0

    D  = sum_features dO * O  =  sum_keys P * dP          dP = Z * (dO V^T)
    dV = (P * Z)^T dO               summed over queries
    dS = P * (dP - D)
    dQ = scale dS K                 summed over keys
    dK = scale dS^T Q               summed over queries
    dB = sum_batch dS               summed over the batch

P and dS are made tile by tile and never stored: only O and L are, and P is made again from L.  Z is
made again too: it is a function of a seed and of the weight's place.  The three sums of the
backward have three kernels, each of whose programs owns a tile of what it sums, so no addition
is atomic and the same inputs give the same bits.  There is no ``(batch, heads, query, key)`` array.

Source: FlashAttention-2 (arXiv 2307.08691), section 3; the bias and dB are ours.  Philox: Salmon et
al., Parallel random numbers: as easy as 1, 2, 3 (2011).  Why it is made so, and what it costs:
docs/decisions/attention-kernel.md.

| symbol           | here                                                        |
|------------------|-------------------------------------------------------------|
| Q, K, V          | ``query``, ``key``, ``value`` ``(batch, heads, seq, head_dim)`` |
| B                | ``bias`` ``(heads, query, key)``                             |
| L                | ``logsumexp`` ``(batch, heads, query)``, inf if all keys are padding |
| D                | ``deltas`` ``(batch, heads, query)``                         |
| p                | ``dropout_p``, rounded to a 65,536th                         |
| Z                | ``kept`` of :mod:`.triton_attention_tiles`                   |

A query whose keys are all padding gets zeros, and gives zero gradients.  Of a sentence that is
padded, tiles of keys after its last word are left out, and those of queries there if they may be.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from .triton_attention_launch import arguments, ranked, run, strided


def triton_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None = None,
    key_padding: Tensor | None = None,
    skip_padded_queries: bool = False,
    dropout_p: float = 0.0,
    scale: float,
    seed: Tensor | None = None,
) -> Tensor:
    """Attention with a bias that all sentences share.

    Args:
        query, key, value: ``(batch, heads, seq, head_dim)`` of one type: float16, bfloat16 or
            float32.  Views of a packed projection are not copied.
        bias: ``(heads, query, key)``, of any floating type; its gradient is made if it needs one.
        key_padding: ``(batch, key)``, True = padding, attended to by nobody.
        skip_padded_queries: nobody needs what comes out for padding: after a sentence's last word
            that is zeros, and gives zero gradients.  Queries are then at the places of the keys.
        dropout_p: probability to drop an attention weight, below 1; rounded to a 65,536th.
        scale: factor on ``query key^T``.
        seed: of dropout, int64 with one element, on the device of ``query``; by default drawn
            there from torch's generator, without waiting for the device.

    Returns:
        ``(batch, heads, query, head_dim)``; heads lie beside each other in memory, so
        ``.transpose(1, 2).flatten(2)`` is free.

    Raises:
        ValueError: shapes that do not fit, or what `why_not_triton` names.
    """
    _check(query, key, value, bias, key_padding, skip_padded_queries, dropout_p, seed)
    if dropout_p > 0 and seed is None:
        seed = torch.randint(0, 2**63 - 1, (1,), dtype=torch.int64, device=query.device)
    query, key, value = (x if x.stride(-1) == 1 else x.contiguous() for x in (query, key, value))
    if dropout_p == 0:
        seed = None
    tensors = query, key, value, bias, key_padding
    return _forward(*tensors, skip_padded_queries, seed, dropout_p, scale)[0]


def _check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    key_padding: Tensor | None,
    skip_padded_queries: bool,
    dropout_p: float,
    seed: Tensor | None,
) -> None:
    batch, heads, queries, head_dim = query.shape
    keys = key.shape[2]
    expected = (
        ("key", key, (batch, heads, keys, head_dim), query.dtype),
        ("value", value, (batch, heads, keys, head_dim), query.dtype),
        ("bias", bias, (heads, queries, keys), None),
        ("key_padding", key_padding, (batch, keys), torch.bool),
        ("seed", seed, (1,), torch.int64),
    )
    for name, tensor, shape, dtype in expected:
        if tensor is None:
            continue
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)}, but {shape} fits the query")
        if dtype is not None and tensor.dtype != dtype:
            raise ValueError(f"{name} is {tensor.dtype}, but has to be {dtype}")
        if tensor.device != query.device:
            raise ValueError(f"{name} is on {tensor.device}, the query on {query.device}")
    if skip_padded_queries and queries != keys:
        raise ValueError(f"skip_padded_queries: {queries} queries are not at {keys} keys' places")
    if bias is not None and not bias.is_floating_point():
        raise ValueError(f"bias is {bias.dtype}, but is added to the logits: use a floating type")
    if not 0 <= dropout_p < 1:
        raise ValueError(f"dropout_p={dropout_p} is not in [0, 1)")


# ---- two operators of torch: opaque to torch.compile and torch.export, which see shapes alone

# Named by the module: a copy of this file beside an exported model has operators of its own.
_NAMESPACE = re.sub(r"\W", "_", __name__)


@torch.library.custom_op(f"{_NAMESPACE}::forward", mutates_args=())
def _forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    padding: Tensor | None,
    skip_queries: bool,
    seed: Tensor | None,
    dropout_p: float,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """O and L."""
    call = arguments(query, key, value, bias, padding, skip_queries, seed, dropout_p, scale)
    out, logsumexp = _like(query), _of_each_query(query)
    run("forward", call, over="queries", **strided(out=out), logsumexp=logsumexp)
    return out, logsumexp


@_forward.register_fake
def _(query: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return _like(query), _of_each_query(query)


@torch.library.custom_op(f"{_NAMESPACE}::backward", mutates_args=())
def _backward(
    out_gradient: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    padding: Tensor | None,
    skip_queries: bool,
    seed: Tensor | None,
    dropout_p: float,
    scale: float,
    bias_needs_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """dQ, dK, dV, and dB: empty unless it is needed."""
    if out_gradient.stride(-1) != 1:  # that of a sum is one number, expanded
        out_gradient = out_gradient.contiguous()
    call = arguments(query, key, value, bias, padding, skip_queries, seed, dropout_p, scale)
    call |= strided(out_gradient=out_gradient)
    call |= {"logsumexp": logsumexp, "deltas": _of_each_query(query)}
    to_query, to_key, to_value = _like(query), _like(key), _like(value)
    to_bias = _like_bias(query, bias, bias_needs_gradient)
    # First, since it leaves D for the others.
    own = strided(out=out, query_gradient=to_query)
    run("gradient_of_queries", call, over="queries", **own)
    own = strided(key_gradient=to_key, value_gradient=to_value)
    run("gradient_of_keys_and_values", call, over="keys", **own)
    if bias_needs_gradient:
        own = {"bias_gradient": to_bias, **ranked(call["ends"], key.shape[2])}
        run("gradient_of_bias", call, over="bias", sentences=query.shape[0], **own)
    return to_query, to_key, to_value, to_bias


@_backward.register_fake
def _(
    out_gradient: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    padding: Tensor | None,
    skip_queries: bool,
    seed: Tensor | None,
    dropout_p: float,
    scale: float,
    bias_needs_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _like(query), _like(key), _like(value), _like_bias(query, bias, bias_needs_gradient)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.skip_queries, seed, ctx.dropout_p, ctx.scale = inputs
    ctx.save_for_backward(*output, *tensors, seed)


def _gradients(ctx: Any, out_gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    bias_needs_gradient = ctx.needs_input_grad[3]
    *saved, seed = ctx.saved_tensors
    settings = ctx.skip_queries, seed, ctx.dropout_p, ctx.scale
    to_query, to_key, to_value, to_bias = _backward(
        out_gradient, *saved, *settings, bias_needs_gradient
    )
    rest = (None,) * 5  # padding, skip_queries, seed, dropout_p, scale
    return to_query, to_key, to_value, to_bias if bias_needs_gradient else None, *rest


_forward.register_autograd(_gradients, setup_context=_save)


def _refuse_second_derivative(ctx: Any, *gradients: Tensor) -> None:
    raise RuntimeError("triton attention has no second derivative: choose explicit")


_backward.register_autograd(_refuse_second_derivative)


# ---- what they allocate


def _like(x: Tensor) -> Tensor:
    """Of the shape of ``x`` ``(batch, heads, seq, head_dim)``, with heads beside each other."""
    batch, heads, seq, head_dim = x.shape
    return x.new_empty(batch, seq, heads, head_dim).transpose(1, 2)


def _of_each_query(query: Tensor) -> Tensor:
    return query.new_empty(query.shape[:3], dtype=torch.float32)


def _like_bias(query: Tensor, bias: Tensor | None, needed: bool) -> Tensor:
    return bias.new_empty(bias.shape) if bias is not None and needed else query.new_empty(0)
