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
is 1/sqrt(n d) for n independent products in the logits, so that their variance stays the same:
that of the words, and those which the parts add.

A scheme is a list of parts.  A part is a table of one kind: it builds a module, and says what the
module gives for a length.  A new scheme is one more entry of ``POSITION_SCHEMES``; a new kind of
position is one more part, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from .absolute_position import AbsolutePositionBias, PositionProjection, tie_cls, untie_cls
from .attention import PositionTerms
from .relative_position import RelativePositionBias, untied_cls_bins


@dataclass(frozen=True)
class Sizes:
    """What a part needs to know of the encoder; see :class:`PositionEncoding`."""

    max_positions: int
    embed_dim: int
    num_heads: int
    num_bins: int
    max_distance: int
    scale: float
    """Factor on the products in the logits."""
    layer_norm: Callable[[int], nn.Module]
    position_offset: int = 0


class Part(Protocol):
    """One kind of knowledge of positions."""

    name: ClassVar[str]
    """Of its module in the encoding, and so in every checkpoint."""
    products: ClassVar[int]
    """Independent products that it adds to the logits."""

    def build(self, sizes: Sizes) -> nn.Module:
        """Its parameters."""

    def terms(self, module: nn.Module, length: int) -> PositionTerms:
        """What they give for a sequence of ``length`` tokens."""


class PositionEmbedding(nn.Embedding):
    """A row for each position, behind ``offset`` rows that are not read."""

    def __init__(self, max_positions: int, embed_dim: int, offset: int = 0) -> None:
        super().__init__(offset + max_positions, embed_dim)
        self.offset = offset

    def first(self, length: int) -> Tensor:
        """Rows of the first positions: ``(length, embed)``."""
        return self.weight[self.offset : self.offset + length]


@dataclass(frozen=True)
class LearnedInput:
    """A learned vector for each position, added to the word embedding (BERT).

    RoBERTa and MPNet count positions from the padding index + 1, so that the rows before it, as
    many as ``position_offset``, are never read.
    """

    name: ClassVar[str] = "learned"
    products: ClassVar[int] = 0

    def build(self, sizes: Sizes) -> nn.Module:
        return PositionEmbedding(sizes.max_positions, sizes.embed_dim, sizes.position_offset)

    def terms(self, module: nn.Module, length: int) -> PositionTerms:
        assert isinstance(module, PositionEmbedding)
        return PositionTerms(embedding=module.first(length))


@dataclass(frozen=True)
class ProjectedPositions:
    """Positional queries and keys of their own, with all cross terms (BERT-A^d)."""

    name: ClassVar[str] = "projection"
    products: ClassVar[int] = 3

    def build(self, sizes: Sizes) -> nn.Module:
        return _projection(sizes)

    def terms(self, module: nn.Module, length: int) -> PositionTerms:
        query, key = module(1, length + 1)
        return PositionTerms(query=query, key=key)


@dataclass(frozen=True)
class AbsoluteBias:
    """Correlations of positions, added to the logits (TUPE)."""

    cls_rule: Callable[[Tensor], Tensor]
    """What becomes of [CLS]: ``untie_cls`` or ``tie_cls``."""
    name: ClassVar[str] = "absolute"
    products: ClassVar[int] = 1

    def build(self, sizes: Sizes) -> nn.Module:
        return AbsolutePositionBias(_projection(sizes), scale=sizes.scale, cls_rule=self.cls_rule)

    def terms(self, module: nn.Module, length: int) -> PositionTerms:
        return PositionTerms(attn_bias=module(length))


@dataclass(frozen=True)
class RelativeBias:
    """A scalar for each head and distance, added to the logits (T5)."""

    untied_cls: bool = False
    """Whether [CLS] has entries of its own."""
    name: ClassVar[str] = "relative"
    products: ClassVar[int] = 0

    def build(self, sizes: Sizes) -> nn.Module:
        return RelativePositionBias(
            sizes.num_heads,
            sizes.max_positions,
            num_bins=sizes.num_bins,
            max_distance=sizes.max_distance,
            untied_cls=untied_cls_bins(sizes.num_bins) if self.untied_cls else None,
        )

    def terms(self, module: nn.Module, length: int) -> PositionTerms:
        return PositionTerms(attn_bias=module(length))


@dataclass(frozen=True)
class PositionScheme:
    """A row of the table above."""

    name: str
    parts: tuple[Part, ...] = ()
    with_relative: str | None = None
    """The scheme which has relative positions besides, if there is one."""

    @property
    def num_products(self) -> int:
        """Independent products in the logits: n in the scale 1/sqrt(n d)."""
        return 1 + sum(part.products for part in self.parts)

    @property
    def has_relative(self) -> bool:
        return any(isinstance(part, RelativeBias) for part in self.parts)

    @property
    def has_learned(self) -> bool:
        """Whether positions have vectors of their own in the input."""
        return any(isinstance(part, LearnedInput) for part in self.parts)

    def scale(self, head_dim: int) -> float:
        """Factor on Q K^T."""
        return float((self.num_products * head_dim) ** -0.5)


POSITION_SCHEMES: dict[str, PositionScheme] = {
    scheme.name: scheme
    for scheme in (
        PositionScheme("tupe-a", (AbsoluteBias(untie_cls),), with_relative="tupe-r"),
        PositionScheme(
            "tupe-r",
            (AbsoluteBias(untie_cls), RelativeBias(untied_cls=True)),
            with_relative="tupe-r",
        ),
        PositionScheme("tupe-a-tie-cls", (AbsoluteBias(tie_cls),)),
        PositionScheme("bert-a", (LearnedInput(),), with_relative="bert-r"),
        PositionScheme("bert-r", (LearnedInput(), RelativeBias()), with_relative="bert-r"),
        PositionScheme("bert-a-d", (ProjectedPositions(),)),
        PositionScheme("none"),
    )
}


def position_scheme(name: str, *, relative: bool = False) -> PositionScheme:
    """The scheme of this name, with relative positions added if they are asked for.

    Raises:
        ValueError: there is no such scheme, or it has no form with relative positions.
    """
    if name not in POSITION_SCHEMES:
        raise ValueError(f"no position scheme {name!r}; there are {', '.join(POSITION_SCHEMES)}")
    scheme = POSITION_SCHEMES[name]
    if not relative:
        return scheme
    if scheme.with_relative is None:
        others = (s for s in POSITION_SCHEMES.values() if s.with_relative not in (None, s.name))
        have = ", ".join(sorted(s.name for s in others))
        raise ValueError(
            f"position scheme {name!r} has no form with relative positions "
            f"(these have: {have}): leave the relative positions out, or choose one of these"
        )
    return POSITION_SCHEMES[scheme.with_relative]


def scheme_of(settings: Mapping[str, Any]) -> PositionScheme:
    """The scheme that a model's settings choose; TUPE's authors had one, and no name for it.

    Raises:
        ValueError: there is no such scheme.
    """
    name = str(settings.get("position_scheme", "tupe-a"))
    return position_scheme(name, relative=bool(settings.get("rel_pos")))


class PositionEncoding(nn.Module):
    """A scheme's parameters, and the terms that they give for a sequence.

    Args:
        scheme: which parts there are.
        max_positions: longest sequence, in tokens.
        embed_dim: width of the encoder.
        num_heads: attention heads.
        num_bins: bins of the relative bias.
        max_distance: distance from which on the relative bias is constant.
        position_offset: unused rows in front of the learned positions.
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
        position_offset: int = 0,
        layer_norm: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        super().__init__()
        self.max_positions = max_positions
        self._parts = scheme.parts
        sizes = Sizes(
            max_positions,
            embed_dim,
            num_heads,
            num_bins,
            max_distance,
            scheme.scale(embed_dim // num_heads),
            layer_norm,
            position_offset,
        )
        for part in scheme.parts:
            self.add_module(part.name, part.build(sizes))

    def forward(self, length: int) -> PositionTerms:
        """Terms for a sequence of ``length`` tokens; those of several parts are added up.

        Raises:
            ValueError: ``length`` is above ``max_positions``.
        """
        if length > self.max_positions:
            raise ValueError(
                f"a sequence of {length} tokens is longer than max_positions={self.max_positions}: "
                "shorten the input, or train with more positions"
            )
        total = PositionTerms()
        for part in self._parts:
            terms = part.terms(self.get_submodule(part.name), length)
            total = PositionTerms(*map(_sum, total, terms))
        return total

    def attn_bias(self, length: int) -> Tensor | None:
        """What is added to the logits, absolute + relative: ``(heads, length, length)``."""
        return self(length).attn_bias


def _projection(sizes: Sizes) -> PositionProjection:
    return PositionProjection(
        sizes.max_positions, sizes.embed_dim, sizes.num_heads, layer_norm=sizes.layer_norm
    )


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
