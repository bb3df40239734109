"""Multi-head self-attention with an additive positional bias.

    softmax( scale (Q + P^Q)(K + P^K)^T + B ) V

``B`` is one (heads, query, key) tensor for the whole batch and for all layers: it is broadcast,
never copied for each sentence.  ``P^Q`` and ``P^K`` are positional queries and keys; TUPE has
none (its positional product is part of ``B``), BERT-A^d has them.

Source: Attention Is All You Need (arXiv 1706.03762), section 3.2; TUPE (arXiv 2006.15595),
equation 7 with ``scale`` = 1/sqrt(2 d).

| paper            | here                                                       |
|------------------|------------------------------------------------------------|
| W^Q, W^K, W^V    | thirds of ``in_proj_weight`` ``(3 embed, embed)``           |
| W^O              | ``out_proj``                                                |
| d                | ``embed_dim // num_heads``                                  |
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention_backends import NO_NOISE, Attention, sdpa_attention
from .packing import Packing


class PositionTerms(NamedTuple):
    """What a position scheme contributes, each part computed once for all layers."""

    attn_bias: Tensor | None = None
    """Added to the logits: ``(heads, query, key)``."""
    query: Tensor | None = None
    """Added to every layer's queries: ``(heads, query, head_dim)``."""
    key: Tensor | None = None
    """Added to every layer's keys: ``(heads, key, head_dim)``."""
    embedding: Tensor | None = None
    """Added to the token embeddings: ``(seq, embed)``."""


def compute_dtype(x: Tensor) -> torch.dtype:
    """Type of the matrix products with ``x``: autocast decides it where it is on."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype


class MultiheadSelfAttention(nn.Module):
    """Self-attention whose projections are packed as in the authors' checkpoints.

    Args:
        embed_dim: width; a multiple of ``num_heads``.
        num_heads: attention heads.
        scale: factor on the logits; the position scheme decides it.
        dropout: probability to drop an attention weight while training.
        attention: a backend of ``attention_backends.py``.

    Raises:
        ValueError: ``embed_dim`` is no multiple of ``num_heads``.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        scale: float,
        dropout: float = 0.0,
        attention: Attention = sdpa_attention,
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(
                f"embed_dim={embed_dim} is no multiple of num_heads={num_heads}: "
                "each head needs the same number of features"
            )
        self.num_heads = num_heads
        self.scale = scale
        self.dropout = dropout
        self.attention = attention
        self.noise = NO_NOISE  # what an adversarial method adds for a while; no part of the state
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dim))
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(
        self,
        x: Tensor,
        *,
        key_padding: Tensor | None = None,
        positions: PositionTerms = PositionTerms(),  # noqa: B008 (immutable)
        packing: Packing | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            x: ``(batch, seq, embed)``; with ``packing`` its words, ``(words, embed)``.
            key_padding: ``(batch, seq)``, True = padding, attended to by nobody.
            positions: all but its ``embedding`` is used here.
            packing: where the words of ``x`` stand in the batch.

        Returns:
            The shape of ``x``.
        """
        projections = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        if packing is not None:
            projections = packing.unpack(projections)
        query, key, value = projections.unflatten(-1, (3, self.num_heads, -1)).permute(
            2, 0, 3, 1, 4
        )
        if positions.query is not None:
            query = query + positions.query
        if positions.key is not None:
            key = key + positions.key
        context = self.attention(
            query,
            key,
            value,
            bias=positions.attn_bias,
            key_padding=key_padding,
            skip_padded_queries=packing is not None,
            noise=self.noise,
            dropout_p=self.dropout if self.training else 0.0,
            scale=self.scale,
        )
        context = context.transpose(1, 2)
        if torch.compiler.is_compiling():
            # Its layout is this kernel's; a traced graph may run with another one.
            context = context.clone(memory_format=torch.contiguous_format)
        context = context.flatten(-2)
        return self.out_proj(context if packing is None else packing.pack(context))
