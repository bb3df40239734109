"""The authors' way to use a positional bias: copied for each sentence, bmm, softmax, bmm.

Written after the description of their code, in their order of axes: ``(seq, batch, embed)`` and
``(batch * heads, query, key)``.  It stands here to be measured against, and is not used elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tupe_plugin.core.attention import MultiheadSelfAttention
from tupe_plugin.core.encoder import TupeEncoder


def forward_with_copied_bias(encoder: TupeEncoder, tokens: Tensor) -> Tensor:
    """What ``encoder`` computes (post-LN, no LayerNorm on the embeddings).

    Args:
        encoder: one with a bias and with dropouts of its own.
        tokens: ``(batch, seq)``.

    Returns:
        ``(batch, seq, embed)``.
    """
    batch, seq = tokens.shape
    bias = encoder.attention_bias(seq)
    assert bias is not None
    bias = bias.repeat(batch, 1, 1)
    padding = tokens.eq(encoder.padding_idx)
    padding = padding if padding.any() else None

    x = encoder.dropout(encoder.embed_tokens(tokens))
    if padding is not None:
        x = x * (~padding).unsqueeze(-1).type_as(x)
    x = x.transpose(0, 1)
    for layer in encoder.layers:
        attended = _attend(layer.self_attn, x, bias, padding)
        x = layer.self_attn_layer_norm(x + layer.dropout(attended))
        inner = layer.activation_dropout(layer.activation(layer.fc1(x)))
        x = layer.final_layer_norm(x + layer.dropout(layer.fc2(inner)))
    return x.transpose(0, 1)


def _attend(
    attn: MultiheadSelfAttention, x: Tensor, bias: Tensor, padding: Tensor | None
) -> Tensor:
    seq, batch, embed = x.shape
    query, key, value = F.linear(x, attn.in_proj_weight, attn.in_proj_bias).chunk(3, dim=-1)
    query = query * attn.scale
    query, key, value = (
        part.contiguous().view(seq, batch * attn.num_heads, -1).transpose(0, 1)
        for part in (query, key, value)
    )
    logits = torch.bmm(query, key.transpose(1, 2))
    logits += bias
    if padding is not None:
        logits = logits.view(batch, attn.num_heads, seq, seq)
        logits = logits.masked_fill(padding[:, None, None], -torch.inf)
        logits = logits.view(batch * attn.num_heads, seq, seq)
    weights = F.dropout(torch.softmax(logits, dim=-1), attn.dropout, training=attn.training)
    context = torch.bmm(weights, value)
    return attn.out_proj(context.transpose(0, 1).contiguous().view(seq, batch, embed))
