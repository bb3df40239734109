"""Every row of the paper's Table 1 as a choice of parts: what the encoder knows of positions.

| scheme           | into the input | into the logits                  | scale of Q K^T |
|------------------|----------------|----------------------------------|----------------|
| ``tupe-a``       |                | absolute, untied [CLS]           | 1/sqrt(2 d)    |
| ``tupe-r``       |                | absolute + relative, untied [CLS]| 1/sqrt(2 d)    |
| ``tupe-a-tie-cls``|               | absolute                         | 1/sqrt(2 d)    |
| ``bert-a``       | learned p_i    |                                  | 1/sqrt(d)      |
| ``bert-r``       | learned p_i    | relative                         | 1/sqrt(d)      |
| ``bert-a-d``     |                | (x W^Q + p U^Q)(x W^K + p U^K)^T | 1/sqrt(4 d)    |
| ``none``         |                |                                  | 1/sqrt(d)      |

Source: TUPE (arXiv 2006.15595), sections 3 and 4.2, Table 1; ``none`` is our control.  The scale
is 1/sqrt(n d) for n independent products in the logits, so that their variance stays the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from .absolute_position import AbsolutePositionBias, PositionProjection, tie_cls, untie_cls
from .attention import PositionTerms
from .relative_position import RelativePositionBias, untied_cls_bins


@dataclass(frozen=True)
class PositionScheme:
    """The parts of a scheme; see the table above."""

    name: str
    num_products: int
    """Independent products in the logits: n in the scale 1/sqrt(n d)."""
    learned_input: bool = False
    projected: bool = False
    """Adds projected positions to every layer's queries and keys."""
    absolute: Callable[[Tensor], Tensor] | None = None
    """None, or the rule for [CLS] in the absolute bias."""
    relative: bool = False

    @property
    def unties_cls(self) -> bool:
        return self.absolute is untie_cls

    def scale(self, head_dim: int) -> float:
        """Factor on Q K^T."""
        return float((self.num_products * head_dim) ** -0.5)

    def with_relative(self) -> PositionScheme:
        """The same scheme with the relative bias added.  Raises ValueError if it makes no sense."""
        if self.relative:
            return self
        if self.name not in _WITH_RELATIVE:
            known = ", ".join(sorted(_WITH_RELATIVE))
            raise ValueError(
                f"position scheme {self.name!r} has no form with relative positions "
                f"(these have: {known}): leave the relative positions out, or choose one of these"
            )
        return POSITION_SCHEMES[_WITH_RELATIVE[self.name]]


_TUPE_A = PositionScheme("tupe-a", num_products=2, absolute=untie_cls)
_BERT_A = PositionScheme("bert-a", num_products=1, learned_input=True)

POSITION_SCHEMES: dict[str, PositionScheme] = {
    scheme.name: scheme
    for scheme in (
        _TUPE_A,
        replace(_TUPE_A, name="tupe-r", relative=True),
        replace(_TUPE_A, name="tupe-a-tie-cls", absolute=tie_cls),
        _BERT_A,
        replace(_BERT_A, name="bert-r", relative=True),
        PositionScheme("bert-a-d", num_products=4, projected=True),
        PositionScheme("none", num_products=1),
    )
}
_WITH_RELATIVE = {"tupe-a": "tupe-r", "bert-a": "bert-r"}


class PositionEncoding(nn.Module):
    """A scheme's parameters, and the terms that they give for a sequence.

    Args:
        scheme: which parts there are.
        max_positions: longest sequence, in tokens.
        embed_dim: width of the encoder.
        num_heads: attention heads.
        num_bins: bins of the relative bias.
        max_distance: distance from which on the relative bias is constant.
        layer_norm: makes the normalisation of ``embed_dim`` features.
    """

    def __init__(
        self,
        scheme: PositionScheme,
        max_positions: int,
        embed_dim: int,
        num_heads: int,
        *,
        num_bins: int = 32,
        max_distance: int = 128,
        layer_norm: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        super().__init__()
        self.max_positions = max_positions
        self.learned = nn.Embedding(max_positions, embed_dim) if scheme.learned_input else None
        self.projection: PositionProjection | None = None
        self.absolute: AbsolutePositionBias | None = None
        self.relative: RelativePositionBias | None = None
        if scheme.projected:
            self.projection = PositionProjection(
                max_positions, embed_dim, num_heads, layer_norm=layer_norm
            )
        if scheme.absolute is not None:
            self.absolute = AbsolutePositionBias(
                PositionProjection(max_positions, embed_dim, num_heads, layer_norm=layer_norm),
                scale=scheme.scale(embed_dim // num_heads),
                cls_rule=scheme.absolute,
            )
        if scheme.relative:
            self.relative = RelativePositionBias(
                num_heads,
                max_positions,
                num_bins=num_bins,
                max_distance=max_distance,
                untied_cls=untied_cls_bins(num_bins) if scheme.unties_cls else None,
            )

    def forward(self, length: int) -> PositionTerms:
        """Terms for a sequence of ``length`` tokens.

        Raises:
            ValueError: ``length`` is above ``max_positions``.
        """
        if length > self.max_positions:
            raise ValueError(
                f"a sequence of {length} tokens is longer than max_positions={self.max_positions}: "
                "shorten the input, or train with more positions"
            )
        query = key = None
        if self.projection is not None:
            query, key = self.projection(1, length + 1)
        return PositionTerms(
            attn_bias=self.attn_bias(length),
            query=query,
            key=key,
            embedding=None if self.learned is None else self.learned.weight[:length],
        )

    def attn_bias(self, length: int) -> Tensor | None:
        """What is added to the logits, absolute + relative: ``(heads, length, length)``."""
        parts = [part(length) for part in (self.absolute, self.relative) if part is not None]
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]
