"""Attention, one query at a time; padding is left out of the sum, not masked."""

from __future__ import annotations

import torch
from torch import Tensor


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float,
    bias: Tensor | None = None,
    padding: Tensor | None = None,
) -> Tensor:
    """``(batch, heads, seq, head_dim)`` three times -> the same.

    Args:
        query, key, value: as above.
        scale: factor on ``query key^T``.
        bias: ``(heads, query, key)``.
        padding: ``(batch, key)``, True = does not take part.
    """
    out = torch.zeros_like(query)
    batch, heads, seq, _ = query.shape
    for b in range(batch):
        present = [k for k in range(seq) if padding is None or not padding[b, k]]
        for h in range(heads):
            for q in range(seq):
                logits = [scale * (query[b, h, q] * key[b, h, k]).sum() for k in present]
                if bias is not None:
                    logits = [x + bias[h, q, k] for x, k in zip(logits, present, strict=True)]
                largest = max(logits)
                weights = [torch.exp(x - largest) for x in logits]
                total = sum(weights)
                for w, k in zip(weights, present, strict=True):
                    out[b, h, q] += w / total * value[b, h, k]
    return out


def multihead(
    p: dict[str, Tensor],
    x: Tensor,
    heads: int,
    *,
    scale: float,
    bias: Tensor | None = None,
    padding: Tensor | None = None,
    position_query: Tensor | None = None,
    position_key: Tensor | None = None,
) -> Tensor:
    """Self-attention of ``(batch, seq, embed)``.

    ``p`` holds in_proj_weight and in_proj_bias (query, key, value stacked), out_proj.weight,
    out_proj.bias.  ``position_query`` and ``position_key`` are ``(heads, seq, head_dim)``.
    """
    batch, seq, embed = x.shape
    d = embed // heads
    q, k, v = (torch.zeros(batch, heads, seq, d, dtype=x.dtype) for _ in range(3))
    for b in range(batch):
        for t in range(seq):
            packed = p["in_proj_weight"] @ x[b, t] + p["in_proj_bias"]
            for h in range(heads):
                features = slice(h * d, (h + 1) * d)
                q[b, h, t] = packed[:embed][features]
                k[b, h, t] = packed[embed : 2 * embed][features]
                v[b, h, t] = packed[2 * embed :][features]
                if position_query is not None:
                    q[b, h, t] += position_query[h, t]
                if position_key is not None:
                    k[b, h, t] += position_key[h, t]
    heads_out = attend(q, k, v, scale=scale, bias=bias, padding=padding)
    out = torch.zeros_like(x)
    for b in range(batch):
        for t in range(seq):
            joined = torch.cat([heads_out[b, h, t] for h in range(heads)])
            out[b, t] = p["out_proj.weight"] @ joined + p["out_proj.bias"]
    return out
