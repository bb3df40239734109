"""Absolute positions: learned, and correlated with each other apart from the words.

    A[h, i, j] = (LN(p_i) U^Q)_h . (LN(p_j) U^K)_h / sqrt(2 d)

is the positional half of the attention logits.  It depends on no word, so it is computed once
and shared by all layers; the other half is the word correlation, scaled by the same 1/sqrt(2 d).

Source: TUPE (arXiv 2006.15595), section 3.1, equation 7; [CLS]: section 3.2 and ``untied_cls.py``.

| paper     | here                        |
|-----------|-----------------------------|
| p_i       | ``projection.embedding``    |
| U^Q, U^K  | ``projection.query``, ``.key`` (with bias, as in the authors' code) |
| d         | ``head_dim``                |
| theta_1   | ``A[:, 0, 0]`` of a table with one row more than there are tokens |
| theta_2   | ``A[:, 1, 1]`` of the same  |
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from .untied_cls import reset_cls


class PositionProjection(nn.Module):
    """Table of positions, LayerNorm, and one query and one key projection for each head.

    The table has ``max_positions + 1`` rows: token i uses row i + 1, and row 0 exists to give
    [CLS] its own correlation.

    Args:
        max_positions: longest sequence, in tokens.
        embed_dim: width of a position vector.
        num_heads: attention heads; divides ``embed_dim``.
        layer_norm: makes the normalisation of ``embed_dim`` features.
    """

    def __init__(
        self,
        max_positions: int,
        embed_dim: int,
        num_heads: int,
        *,
        layer_norm: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.embedding = nn.Embedding(max_positions + 1, embed_dim)
        self.layer_norm = layer_norm(embed_dim)
        self.query = nn.Linear(embed_dim, embed_dim)
        self.key = nn.Linear(embed_dim, embed_dim)

    def forward(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Project table rows ``start`` to ``stop - 1``.

        Returns:
            queries and keys, each ``(heads, stop - start, head_dim)``, not scaled.
        """
        positions = self.layer_norm(self.embedding.weight[start:stop])
        queries, keys = (
            linear(positions).view(stop - start, self.num_heads, -1).transpose(0, 1)
            for linear in (self.query, self.key)
        )
        return queries, keys


def untie_cls(correlation: Tensor) -> Tensor:
    """Drop row and column 0 after they have given [CLS] its two scalars (TUPE-A, TUPE-R).

    Args:
        correlation: ``(heads, seq + 1, seq + 1)``.

    Returns:
        ``(heads, seq, seq)``.
    """
    return reset_cls(
        correlation[:, 1:, 1:],
        cls_to_others=correlation[:, 0, 0],
        others_to_cls=correlation[:, 1, 1],
    )


def tie_cls(correlation: Tensor) -> Tensor:
    """Drop row and column 0: [CLS] is a position like the others (TUPE-A tie-cls).

    Args:
        correlation: ``(heads, seq + 1, seq + 1)``.

    Returns:
        ``(heads, seq, seq)``.
    """
    return correlation[:, 1:, 1:]


class AbsolutePositionBias(nn.Module):
    """The positional half of the attention logits, ``A`` above.

    Args:
        projection: positions -> queries and keys.
        scale: 1/sqrt(2 d); multiplies the queries.
        cls_rule: what becomes of [CLS], ``untie_cls`` or ``tie_cls``.
    """

    def __init__(
        self,
        projection: PositionProjection,
        *,
        scale: float,
        cls_rule: Callable[[Tensor], Tensor] = untie_cls,
    ) -> None:
        super().__init__()
        self.projection = projection
        self.scale = scale
        self.cls_rule = cls_rule

    def forward(self, length: int) -> Tensor:
        """Bias for a sequence of ``length`` tokens: ``(heads, length, length)``."""
        queries, keys = self.projection(0, length + 1)
        return self.cls_rule((queries * self.scale) @ keys.transpose(1, 2))
