"""The encoder: token embeddings, a stack of Transformer layers, one positional bias for all.

    x_0 = dropout(LN?(E[tokens] + s? + p?));   B = positions(seq), once
    post-LN (BERT):   a = LN(x + attention(x, B));  x' = LN(a + FFN(a))
    pre-LN:           a = x + attention(LN(x), B);  x' = a + FFN(LN(a));  a final LN after the last

Source: TUPE (arXiv 2006.15595), section 3; BERT (arXiv 1810.04805).  What the encoder knows of
positions is chosen in ``position_scheme.py``; BERT's segments s are in ``segments.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import MultiheadSelfAttention, PositionTerms, compute_dtype
from .attention_backends import Attention, sdpa_attention
from .initialization import Initialize, init_bert_params
from .packing import Packing, packing_of
from .position_scheme import PositionEncoding, PositionScheme
from .segments import SegmentEmbedding


class TupeEncoderLayer(nn.Module):
    """One Transformer layer.

    Args:
        self_attn: its attention.
        embed_dim: width.
        ffn_embed_dim: inner width of the feed-forward block.
        dropout: after attention and after the feed-forward block.
        activation_dropout: after the activation.
        activation: of the feed-forward block.
        normalize_before: pre-LN instead of post-LN.
        layer_norm: makes the normalisation of ``embed_dim`` features.
    """

    def __init__(
        self,
        self_attn: MultiheadSelfAttention,
        embed_dim: int,
        ffn_embed_dim: int,
        *,
        dropout: float = 0.1,
        activation_dropout: float = 0.0,
        activation: Callable[[Tensor], Tensor] = F.gelu,
        normalize_before: bool = False,
        layer_norm: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        super().__init__()
        self.normalize_before = normalize_before
        self.self_attn = self_attn
        self.self_attn_layer_norm = layer_norm(embed_dim)
        self.fc1 = nn.Linear(embed_dim, ffn_embed_dim)
        self.fc2 = nn.Linear(ffn_embed_dim, embed_dim)
        self.final_layer_norm = layer_norm(embed_dim)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.activation_dropout = nn.Dropout(activation_dropout)

    def forward(
        self,
        x: Tensor,
        key_padding: Tensor | None,
        positions: PositionTerms,
        packing: Packing | None = None,
    ) -> Tensor:
        """Transform ``x``; arguments and result are those of `MultiheadSelfAttention.forward`."""

        def attention(x: Tensor) -> Tensor:
            return self.dropout(
                self.self_attn(x, key_padding=key_padding, positions=positions, packing=packing)
            )

        if self.normalize_before:
            x = x + attention(self.self_attn_layer_norm(x))
            return x + self._feed_forward(self.final_layer_norm(x))
        x = self.self_attn_layer_norm(x + attention(x))
        return self.final_layer_norm(x + self._feed_forward(x))

    def _feed_forward(self, x: Tensor) -> Tensor:
        x = self.activation_dropout(self.activation(self.fc1(x)))
        return self.dropout(self.fc2(x))


class TupeEncoder(nn.Module):
    """Tokens -> contextual features.

    Args:
        vocab_size: number of symbols.
        padding_idx: the symbol that fills up a batch.
        num_layers: depth.
        embed_dim: width.
        ffn_embed_dim: inner width of the feed-forward blocks.
        num_heads: attention heads; divides ``embed_dim``.
        max_positions: longest sequence, in tokens.
        scheme: what it knows of positions (``POSITION_SCHEMES``).
        num_bins: bins of the relative bias, if the scheme has one.
        max_distance: distance from which on the relative bias is constant.
        position_offset: unused rows in front of the learned positions (RoBERTa and MPNet: 2).
        num_segments: token types; 0: none, as TUPE and fairseq's RoBERTa.
        separator_idx: the symbol that ends a segment; needed if there are any.
        dropout: after embedding, attention and feed-forward.
        attention_dropout: on the attention weights.
        activation_dropout: after the activation of the feed-forward blocks.
        activation: of the feed-forward blocks.
        embedding_normalize: LayerNorm on the embeddings.
        normalize_before: pre-LN, and a final LayerNorm.
        layer_norm: makes each normalisation (a fused one may be passed in).
        attention: a backend of ``attention_backends.py``.
        unpad: leave padding out of all but the attention; None: on a CPU, where to
            look for padding is to wait for nothing.
        init: gives each module its first weights; None leaves torch's, for a model that
            initialises all its parts at once.
    """

    def __init__(
        self,
        vocab_size: int,
        padding_idx: int,
        *,
        num_layers: int,
        embed_dim: int,
        ffn_embed_dim: int,
        num_heads: int,
        max_positions: int,
        scheme: PositionScheme,
        num_bins: int = 32,
        max_distance: int = 128,
        position_offset: int = 0,
        num_segments: int = 0,
        separator_idx: int | None = None,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation_dropout: float = 0.0,
        activation: Callable[[Tensor], Tensor] = F.gelu,
        embedding_normalize: bool = False,
        normalize_before: bool = False,
        layer_norm: Callable[[int], nn.Module] = nn.LayerNorm,
        attention: Attention = sdpa_attention,
        unpad: bool | None = None,
        init: Initialize | None = init_bert_params,
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(
                f"embed_dim={embed_dim} is no multiple of num_heads={num_heads}: "
                "each head needs the same number of features"
            )
        self.padding_idx = padding_idx
        self.unpad = unpad
        self.max_positions = max_positions
        self.embed_tokens = nn.Embedding(vocab_size, embed_dim, padding_idx=padding_idx)
        self.positions = PositionEncoding(
            scheme,
            max_positions,
            embed_dim,
            num_heads,
            num_bins=num_bins,
            max_distance=max_distance,
            position_offset=position_offset,
            layer_norm=layer_norm,
        )
        self.segment_embeddings = _segments(num_segments, embed_dim, separator_idx)
        self.embedding_layer_norm = layer_norm(embed_dim) if embedding_normalize else None
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            TupeEncoderLayer(
                MultiheadSelfAttention(
                    embed_dim,
                    num_heads,
                    scale=scheme.scale(embed_dim // num_heads),
                    dropout=attention_dropout,
                    attention=attention,
                ),
                embed_dim,
                ffn_embed_dim,
                dropout=dropout,
                activation_dropout=activation_dropout,
                activation=activation,
                normalize_before=normalize_before,
                layer_norm=layer_norm,
            )
            for _ in range(num_layers)
        )
        self.final_layer_norm = layer_norm(embed_dim) if normalize_before else None
        if init is not None:
            self.apply(init)

    def forward(self, tokens: Tensor, *, all_states: bool = False) -> list[Tensor]:
        """Encode.

        Args:
            tokens: ``(batch, seq)``, ``<s>`` ([CLS]) first, padding last.
            all_states: keep what each layer gives, which takes memory.

        Returns:
            The features, ``(batch, seq, embed)``, normalised if pre-LN; or ``num_layers + 1`` such
            tensors, the embedded input, then what each layer gives, of which the last is that.

        Raises:
            ValueError: ``seq`` is above ``max_positions``.
        """
        positions = self.positions(tokens.size(1))
        padding = tokens.eq(self.padding_idx)
        # A graph that is traced serves every batch, so it cannot depend on what is in this one; and
        # to look into a batch on a GPU is to wait for it.
        compiling, on_cpu = torch.compiler.is_compiling(), tokens.device.type == "cpu"
        packing = None
        if not compiling and (on_cpu if self.unpad is None else self.unpad):
            packing = packing_of(padding)
            key_padding = None if packing is None else padding
        else:
            key_padding = padding if compiling or not on_cpu or padding.any() else None

        x = self.embed_tokens(tokens)
        if self.segment_embeddings is not None:
            x = x + self.segment_embeddings(tokens)
        if positions.embedding is not None:
            x = x + positions.embedding
        if packing is not None:
            x = packing.pack(x)
        if self.embedding_layer_norm is not None:
            x = self.embedding_layer_norm(x)
        x = self.dropout(x)
        if key_padding is not None and packing is None:
            x = x.masked_fill(key_padding.unsqueeze(-1), 0.0)

        if positions.attn_bias is not None:  # once for all layers
            positions = positions._replace(attn_bias=positions.attn_bias.to(compute_dtype(x)))
        states = [x]
        for layer in self.layers:
            x = layer(x, key_padding, positions, packing)
            states = [*states, x] if all_states else [x]
        if self.final_layer_norm is not None:
            states[-1] = self.final_layer_norm(states[-1])
        return states if packing is None else [packing.unpack(state) for state in states]

    def attention_bias(self, length: int) -> Tensor | None:
        """Learned positional part of the logits, ``(heads, query, key)``; None if there is none."""
        return self.positions.attn_bias(length)


def _segments(number: int, embed_dim: int, separator_idx: int | None) -> SegmentEmbedding | None:
    if not number:
        return None
    if separator_idx is None:
        raise ValueError(f"num_segments={number} needs separator_idx, which ends a segment")
    return SegmentEmbedding(number, embed_dim, separator_idx=separator_idx)
