"""What stands on the encoder: the masked-LM head and the classification head.

    masked LM:       LN(gelu(x W + b)) E^T + c            E: the token embedding, shared
    classification:  dropout(tanh(dropout(x_0) W + b)) W' + b'     x_0: the features of [CLS]

Source: BERT (arXiv 1810.04805), sections 3.1 and 4; RoBERTa (arXiv 1907.11692) for the shape of
the masked-LM head and the first dropout.  BERT has none there, and its W, b (the "pooler") were
pre-trained.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .initialization import Initialize, init_bert_params


class MaskedLMHead(nn.Module):
    """Features -> logits over the vocabulary.

    Args:
        weight: the token embedding ``(vocab, embed)``, a parameter; shared, not copied.
        activation: between the dense layer and the normalisation.
        layer_norm: makes the normalisation of ``embed_dim`` features.
        init: see :class:`~tupe_plugin.core.encoder.TupeEncoder`; not for the shared embedding.
    """

    def __init__(
        self,
        weight: Tensor,
        *,
        activation: Callable[[Tensor], Tensor] = F.gelu,
        layer_norm: Callable[[int], nn.Module] = nn.LayerNorm,
        init: Initialize | None = init_bert_params,
    ) -> None:
        super().__init__()
        vocab_size, embed_dim = weight.shape
        self.dense = nn.Linear(embed_dim, embed_dim)
        self.activation = activation
        self.layer_norm = layer_norm(embed_dim)
        self.weight = weight
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        if init is not None:
            self.apply(init)

    def forward(self, features: Tensor, masked_tokens: Tensor | None = None) -> Tensor:
        """Predict the tokens.

        Args:
            features: ``(batch, seq, embed)``.
            masked_tokens: ``(batch, seq)``, True = to be predicted.  Only these are projected:
                the vocabulary is the widest axis of the model.

        Returns:
            ``(masked, vocab)``, or ``(batch, seq, vocab)`` without ``masked_tokens``.
        """
        if masked_tokens is not None:
            features = features[masked_tokens]
        x = self.layer_norm(self.activation(self.dense(features)))
        return F.linear(x, self.weight, self.bias)


class ClassificationHead(nn.Module):
    """Features of [CLS] -> class logits, or one number for regression.

    Args:
        embed_dim: width of the features.
        num_classes: number of outputs; 1 for regression.
        inner_dim: width of the dense layer ("pooler"); ``embed_dim`` if None.
        activation: after the dense layer.
        dropout: after the activation.
        input_dropout: before the dense layer.
        init: see :class:`~tupe_plugin.core.encoder.TupeEncoder`.
    """

    def __init__(
        self,
        embed_dim: int,
        num_classes: int,
        *,
        inner_dim: int | None = None,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        init: Initialize | None = init_bert_params,
    ) -> None:
        super().__init__()
        self.input_dropout = nn.Dropout(input_dropout)
        self.dense = nn.Linear(embed_dim, inner_dim or embed_dim)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(inner_dim or embed_dim, num_classes)
        if init is not None:
            self.apply(init)

    def forward(self, features: Tensor) -> Tensor:
        """Classify: ``(batch, seq, embed)`` -> ``(batch, classes)``."""
        x = self.activation(self.dense(self.input_dropout(features[:, 0])))
        return self.out_proj(self.dropout(x))
