"""What a fine-tuning strategy needs to know of an encoder, and nothing else.

    view = view_of(model)      any model in which one encoder of a known family stands

| strategy      | reads                                                    |
|---------------|----------------------------------------------------------|
| BitFit        | ``biases``, ``parameters``                               |
| layer decay   | ``before_layers``, ``layers``, ``after_layers``          |
| M-FAC's window | ``before_layers``, ``biases``, ``parameters``           |
| word noise    | ``word_embedding``, ``padding_idx``                      |
| attention noise | ``attentions``, ``family.access``, ``padding_idx``     |

What is not among the view's parameters is a head.

The families are tables in ``views/``; a model is recognised by the names of its parameters, so
neither fairseq nor transformers is imported.  Of what no table knows a view cannot be made: a
strategy that guessed would train the wrong parameters in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn

from .encoder_family import BiasTerm, Family, UnknownEncoderError
from .views import FAMILIES

T = TypeVar("T")

HOW_TO_DESCRIBE = "describe your encoder by a table as in docs/your-own-encoder.md"


@dataclass(frozen=True)
class EncoderNames:
    """What the names of its parameters tell of an encoder.  Made by :func:`names_of`."""

    family: Family
    prefix: str
    """Of the encoder in the model, with a dot at its end; ``""`` where they are one."""
    biases: tuple[BiasTerm, ...]
    """From the input to the output; their keys begin behind the prefix."""

    def own(self, state: Mapping[str, T]) -> dict[str, T]:
        """The encoder's part of a model's state dict, under the encoder's own names."""
        start = len(self.prefix)
        return {key[start:]: value for key, value in state.items() if key.startswith(self.prefix)}


@dataclass(frozen=True)
class EncoderView:
    """One encoder and the model around it.  Made by :func:`view_of`."""

    model: nn.Module
    encoder: nn.Module
    names: EncoderNames

    @property
    def family(self) -> Family:
        return self.names.family

    @property
    def biases(self) -> tuple[BiasTerm, ...]:
        """From the input to the output."""
        return self.names.biases

    @property
    def word_embedding(self) -> nn.Embedding:
        module = self.encoder.get_submodule(self.family.word_embedding)
        assert isinstance(module, nn.Embedding)
        return module

    @property
    def padding_idx(self) -> int | None:
        return self.word_embedding.padding_idx

    @property
    def before_layers(self) -> tuple[nn.Module, ...]:
        return self._present(self.family.before_layers)

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        # Not by iterating: fairseq's LayerDrop leaves out some of them each time.
        return tuple(self.encoder.get_submodule(self.family.layers)._modules.values())  # type: ignore[arg-type]

    @property
    def after_layers(self) -> tuple[nn.Module, ...]:
        return self._present(self.family.after_layers)

    @property
    def attentions(self) -> tuple[nn.Module, ...]:
        """The self-attention of each layer."""
        return tuple(layer.get_submodule(self.family.attention) for layer in self.layers)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Of the encoder, without the heads that some families keep inside of it."""
        for module in (*self.before_layers, *self.layers, *self.after_layers):
            yield from module.parameters()

    @property
    def unused(self) -> tuple[nn.Parameter, ...]:
        """Parameters that no training step reads."""
        return tuple(
            param
            for layer in self.layers
            for name, param in layer.named_parameters()
            if name in self.family.unused
        )

    def _present(self, paths: Iterable[str]) -> tuple[nn.Module, ...]:
        found = (_module_at(self.encoder, path) for path in paths)
        return tuple(module for module in found if module is not None)


def view_of(model: nn.Module | EncoderView, *, family: Family | None = None) -> EncoderView:
    """Describe the encoder of a model.

    Args:
        model: itself an encoder, or one with heads and wrappers around it; a view is given back.
        family: the table that fits; None: it is found by the model's structure.

    Raises:
        UnknownEncoderError: no table fits, several encoders are in the model, or the table does not
            account for each of its parameters.
    """
    if isinstance(model, EncoderView):
        return model
    names = names_of(model.state_dict(), family=family, what=type(model).__name__)
    view = EncoderView(model, model.get_submodule(names.prefix.rstrip(".")), names)
    _check_places(view)
    return view


def names_of(
    state: Iterable[str], *, family: Family | None = None, what: str = "the checkpoint"
) -> EncoderNames:
    """Find the encoder among the parameters of a model, in memory or in a file.

    Args:
        state: a state dict, or its keys.
        family: the table that fits; None: the one that does.
        what: a name for the model in errors.

    Raises:
        UnknownEncoderError: there is none, or more than one, or it has a bias without a role.
    """
    keys, tried = list(state), [family] if family else FAMILIES
    places = [(family, prefix) for family in tried for prefix in family.prefixes_in(keys)]
    if not places:
        raise UnknownEncoderError(
            f"{what} has no encoder of a known family "
            f"({', '.join(family.name for family in tried)}): {HOW_TO_DESCRIBE}"
        )
    if len(places) > 1:
        found = ", ".join(f"{family.name} at {prefix or 'its top'}" for family, prefix in places)
        raise UnknownEncoderError(
            f"{what} has {len(places)} encoders ({found}): give the one that is meant by itself"
        )
    ((found_family, prefix),) = places
    own = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
    return EncoderNames(found_family, prefix, tuple(found_family.bias_terms(own)))


def _check_places(view: EncoderView) -> None:
    """Every parameter of the encoder stands somewhere; raises UnknownEncoderError."""
    family = view.family
    places = (*family.before_layers, family.layers, *family.after_layers, *family.heads)
    lost = [
        name
        for name, _ in view.encoder.named_parameters()
        if not any(name == place or name.startswith(f"{place}.") for place in places)
    ]
    if lost:
        raise UnknownEncoderError(
            f"the table of encoder family {family.name!r} does not say where {lost[0]} stands "
            f"({len(lost)} parameters in all): name its module in `before_layers`, `after_layers` "
            "or `heads`"
        )


def _module_at(module: nn.Module, path: str) -> nn.Module | None:
    current: Any = module
    for name in path.split("."):
        current = getattr(current, name, None)
    return current if isinstance(current, nn.Module) else None
