"""The names of the parts of one family of encoders: a table, which works on a model and on a file.

    bias term  =  (place, role)        place: a layer's number, ``embedding`` or ``final``

A family is told by names alone, so that the same table finds the bias terms of a model in memory
and of a checkpoint on disk.  Where query, key and value have the same path in the table, their bias
is packed: one vector, a third for each, in this order.

The check: every parameter of the encoder whose name ends in ``bias`` has a role or is named as one
without; every parameter stands before, in or behind the layers.  So a table that forgets something
raises instead of leaving it out.

Source of the roles: BitFit (arXiv 2106.10199), section 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from .attention_access import AttentionAccess

PARTS = ("query", "key", "value")
"""Order of the parts in a packed projection."""
ROLES = (*PARTS, "attention_output", "intermediate", "output", "layer_norm")

BEFORE_LAYERS, AFTER_LAYERS = "embedding", "final"


class UnknownEncoderError(ValueError):
    """No table fits a model, or the one that does forgets a part of it."""


class BiasTerm(NamedTuple):
    """One bias vector of an encoder."""

    place: str
    """Number of the layer from 0, or ``embedding`` or ``final`` for a LayerNorm outside of them."""
    role: str
    key: str
    """Name in the encoder's state dict."""
    packed: bool = False
    """Whether it is a third of that entry."""

    @property
    def name(self) -> str:
        """The key; with the role, if it is a part of a packed projection."""
        return f"{self.key}.{self.role}" if self.packed else self.key

    def of(self, state: Mapping[str, Tensor]) -> Tensor:
        """Its value ``(features,)`` in the encoder's state dict, as a view."""
        value = state[self.key]
        return value.chunk(len(PARTS))[PARTS.index(self.role)] if self.packed else value


@dataclass(frozen=True)
class Family:
    """Where the parts of an encoder are.

    Paths are those of modules or parameters, dots between; those of a layer begin at the layer, all
    others at the encoder.  A path that a model of the family may lack is no error.
    """

    name: str
    word_embedding: str
    """An ``nn.Embedding``."""
    before_layers: tuple[str, ...]
    """Modules in front of the first layer, the word embedding among them."""
    layers: str
    """An ``nn.ModuleList``."""
    after_layers: tuple[str, ...]
    """Modules behind the last layer which are part of the encoder: pre-LN's last LayerNorm."""
    biases: Mapping[str, tuple[str, ...]]
    """Role -> parameters of a layer."""
    outer_norms: Mapping[str, str]
    """``embedding`` and ``final`` -> bias of the LayerNorm outside of the layers."""
    attention: str
    """The self-attention of a layer."""
    access: AttentionAccess
    """How noise enters it."""
    heads: tuple[str, ...] = ()
    """Modules inside the encoder's module that belong to the heads: BERT's pooler."""
    without_role: tuple[str, ...] = ()
    """Modules of the encoder with bias terms that BitFit does not know, which stay frozen."""
    unused: tuple[str, ...] = ()
    """Parameters of a layer that no training step reads."""

    def prefixes_in(self, names: Iterable[str]) -> list[str]:
        """Where in a model with these parameters an encoder of this family begins.

        ``""`` is the model itself; else the prefix ends with a dot.
        """
        in_order = list(names)
        known = set(in_order)
        first_layer = f"{self.layers}.0."
        wanted = {path for role in PARTS for path in self.biases[role]}
        end = f"{self.word_embedding}.weight"
        return [
            prefix
            for prefix in (name.removesuffix(end) for name in in_order if _ends_path(name, end))
            if all(prefix + first_layer + path in known for path in wanted)
        ]

    def bias_terms(self, names: Iterable[str]) -> Iterator[BiasTerm]:
        """Every bias term of an encoder with these parameters, from the input to the output.

        Raises:
            UnknownEncoderError: there is a bias of which the table says nothing.
        """
        known = set(names)
        terms = [term for term in self._possible_terms(known) if term.key in known]
        keys = {term.key for term in terms}
        left = sorted(
            name for name in known - keys if name.endswith("bias") and not self._has_no_role(name)
        )
        if left:
            raise UnknownEncoderError(
                f"the table of encoder family {self.name!r} says nothing of the bias {left[0]} "
                f"({len(left)} in all): name its role in `biases`, or its module in `without_role`"
            )
        yield from terms

    def num_layers(self, names: Iterable[str]) -> int:
        """Number of layers of an encoder with these parameters."""
        start = f"{self.layers}."
        return len({name[len(start) :].split(".")[0] for name in names if name.startswith(start)})

    def _possible_terms(self, known: set[str]) -> Iterator[BiasTerm]:
        def outer(place: str) -> Iterator[BiasTerm]:
            if place in self.outer_norms:
                yield BiasTerm(place, "layer_norm", self.outer_norms[place])

        yield from outer(BEFORE_LAYERS)
        for layer in range(self.num_layers(known)):
            for role, paths in self.biases.items():
                packed = role in PARTS and paths == self.biases[_another_part(role)]
                for path in paths:
                    yield BiasTerm(str(layer), role, f"{self.layers}.{layer}.{path}", packed)
        yield from outer(AFTER_LAYERS)

    def _has_no_role(self, name: str) -> bool:
        if any(name.startswith(f"{module}.") for module in (*self.without_role, *self.heads)):
            return True
        start, _, rest = name.removeprefix(f"{self.layers}.").partition(".")
        return name.startswith(f"{self.layers}.") and start.isdigit() and rest in self.unused


def _another_part(role: str) -> str:
    return PARTS[PARTS.index(role) - 1]


def _ends_path(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")
