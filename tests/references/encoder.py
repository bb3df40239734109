"""The whole encoder for each row of the TUPE paper's Table 1, token by token."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .absolute_position import absolute_bias, layer_norm, project_position
from .attention import multihead
from .relative_position import relative_bias

PRODUCTS = {"tupe-a": 2, "tupe-r": 2, "tupe-a-tie-cls": 2, "bert-a-d": 4}
"""Independent products in the logits, where there is more than one."""


def gelu(x: Tensor) -> Tensor:
    """x times the standard normal distribution function at x."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def under(p: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The parameters below ``prefix``, without it."""
    return {key[len(prefix) :]: value for key, value in p.items() if key.startswith(prefix)}


def linear(p: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """One vector through a dense layer."""
    return p[name + ".weight"] @ x + p[name + ".bias"]


def encode(
    p: dict[str, Tensor],
    tokens: Tensor,
    *,
    scheme: str,
    heads: int,
    layers: int,
    padding_idx: int,
    num_bins: int = 32,
    max_distance: int = 128,
    pre_norm: bool = False,
    position_offset: int = 0,
    separator_idx: int = 2,
    eps: float = 1e-5,
) -> Tensor:
    """``(batch, seq)`` token ids -> ``(batch, seq, embed)`` features, without dropout.

    ``p`` is the encoder's state dict.  Parameters that a scheme does not need are not looked at,
    so a wrong scheme shows as a wrong result or as a missing key.
    """
    batch, seq = tokens.shape
    d = p["embed_tokens.weight"].shape[1] // heads
    padding = tokens == padding_idx

    def norm(name: str, x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        for b in range(batch):
            for t in range(seq):
                out[b, t] = layer_norm(x[b, t], p[name + ".weight"], p[name + ".bias"], eps=eps)
        return out

    # positional part
    bias = position_query = position_key = None
    if scheme in ("tupe-a", "tupe-r", "tupe-a-tie-cls"):
        untied = scheme != "tupe-a-tie-cls"
        bias = absolute_bias(under(p, "positions.absolute.projection."), heads, seq, untied=untied)
    if scheme in ("tupe-r", "bert-r"):
        relative = relative_bias(
            p["positions.relative.bias.weight"],
            seq,
            num_bins=num_bins,
            max_distance=max_distance,
            untied=scheme == "tupe-r",
        )
        bias = relative if bias is None else bias + relative
    if scheme == "bert-a-d":
        projection = under(p, "positions.projection.")
        position_query, position_key = (
            torch.stack([project_position(projection, t + 1, which) for t in range(seq)])
            .view(seq, heads, d)
            .transpose(0, 1)
            for which in ("query", "key")
        )

    # input
    x = torch.zeros(batch, seq, heads * d, dtype=p["embed_tokens.weight"].dtype)
    for b in range(batch):
        for t in range(seq):
            x[b, t] = p["embed_tokens.weight"][tokens[b, t]]
            if scheme in ("bert-a", "bert-r"):
                x[b, t] += p["positions.learned.weight"][position_offset + t]
            if "segment_embeddings.weight" in p:
                segments = p["segment_embeddings.weight"]
                separators = tokens[b, :t].tolist().count(separator_idx)
                x[b, t] += segments[min(separators, len(segments) - 1)]
    if "embedding_layer_norm.weight" in p:
        x = norm("embedding_layer_norm", x)
    for b in range(batch):
        for t in range(seq):
            if padding[b, t]:
                x[b, t] = 0

    for layer in range(layers):
        prefix = f"layers.{layer}."
        block = under(p, prefix)
        first, second = prefix + "self_attn_layer_norm", prefix + "final_layer_norm"

        attended = multihead(
            under(block, "self_attn."),
            norm(first, x) if pre_norm else x,
            heads,
            scale=1 / math.sqrt(PRODUCTS.get(scheme, 1) * d),
            bias=bias,
            padding=padding,
            position_query=position_query,
            position_key=position_key,
        )
        x = x + attended if pre_norm else norm(first, x + attended)

        inner = norm(second, x) if pre_norm else x
        forwarded = torch.zeros_like(x)
        for b in range(batch):
            for t in range(seq):
                forwarded[b, t] = linear(block, "fc2", gelu(linear(block, "fc1", inner[b, t])))
        x = x + forwarded if pre_norm else norm(second, x + forwarded)
    return norm("final_layer_norm", x) if pre_norm else x


def masked_lm_logits(p: dict[str, Tensor], embedding: Tensor, features: Tensor) -> Tensor:
    """``(masked, embed)`` features -> ``(masked, vocab)``, one position and symbol at a time."""
    rows = []
    for feature in features:
        x = gelu(linear(p, "dense", feature))
        x = layer_norm(x, p["layer_norm.weight"], p["layer_norm.bias"])
        rows.append(
            torch.stack([(x * row).sum() + b for row, b in zip(embedding, p["bias"], strict=True)])
        )
    return torch.stack(rows)


def class_logits(p: dict[str, Tensor], features: Tensor) -> Tensor:
    """``(batch, seq, embed)`` features -> ``(batch, classes)``: from token 0 alone."""
    return torch.stack(
        [
            linear(p, "out_proj", torch.tanh(linear(p, "dense", sentence[0])))
            for sentence in features
        ]
    )
