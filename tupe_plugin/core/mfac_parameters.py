"""Which parameters enter M-FAC's window; what becomes of the others.

| parameters      | in the window                           | outside of it                      |
|-----------------|-----------------------------------------|------------------------------------|
| `all`           | everything that trains                  | nothing                            |
| `no-embeddings` | layers, the LayerNorm after them, heads | what stands before the first layer |
| `biases`        | the encoder's bias terms, heads         | its matrices, tables and gains     |

The window takes m times the memory of what is in it, and embeddings are half of a small model.
What is outside trains with Adam, or is frozen.  `biases` with the others frozen is BitFit.

The three are told apart by the encoder's view, so the same words mean the same parameters in every
family.  An output matrix that is the token embedding is the token embedding.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from .bitfit import parameter
from .encoder_view import EncoderView, view_of
from .layer_decay import parameter_groups

ALL = "all"
PARAMETERS = (ALL, "no-embeddings", "biases")
ADAM = "adam"
RESTS = (ADAM, "frozen")


def outside_of_window(model: nn.Module | EncoderView, parameters: str) -> set[nn.Parameter]:
    """Parameters of the encoder that do not enter the window, whether they train or not.

    Args:
        model: a model with an encoder, or a view of one.
        parameters: one of `PARAMETERS`.

    Raises:
        UnknownEncoderError: no table of ``views/`` fits the model.
        ValueError: ``parameters`` is none of `PARAMETERS`.
    """
    _check_name("parameters", parameters, PARAMETERS)
    if parameters == ALL:
        return set()
    view = view_of(model)
    if parameters == "no-embeddings":
        return {param for module in view.before_layers for param in module.parameters()}
    return set(view.parameters()) - {parameter(view, term) for term in view.biases}


def freeze_outside_of_window(model: nn.Module | EncoderView, parameters: str) -> None:
    """To be done before an optimizer takes the parameters.

    Raises:
        as :func:`outside_of_window`.  Nothing is frozen then.
    """
    for param in outside_of_window(model, parameters):
        param.requires_grad_(False)


def mfac_groups(
    model: nn.Module | EncoderView,
    parameters: str,
    *,
    lr: float = 1e-4,
    rest: str = ADAM,
    rest_lr: float | None = None,
    layer_decay: float = 1.0,
    **adam: Any,
) -> list[dict[str, Any]]:
    """Parameter groups for :class:`MFAC`; those that train, by what they are.

        optimizer = MFAC(mfac_groups(model, "no-embeddings", lr=1e-4, rest_lr=5e-5), num_grads=512)

    Args:
        model: a model with an encoder, or a view of one.
        parameters: what enters the window, one of `PARAMETERS`.
        lr: of M-FAC.
        rest: what becomes of the others, one of `RESTS`: ``frozen`` freezes them here and now.
        rest_lr: of Adam; default ``lr``.
        layer_decay: factor of either rate for each layer further down.
        adam: ``betas`` and ``eps`` of Adam, if they are not the usual ones.

    Raises:
        UnknownEncoderError: no table of ``views/`` fits the model.
        ValueError: a name or a factor is out of bounds, or nothing trains.
    """
    _check_name("rest", rest, RESTS)
    view = view_of(model)
    outside = outside_of_window(view, parameters)
    if rest != ADAM:
        freeze_outside_of_window(view, parameters)
    groups = []
    for in_window, rate in ((True, lr), (False, lr if rest_lr is None else rest_lr)):
        for group in parameter_groups(view, lr=rate, layer_decay=layer_decay):
            own = [param for param in group["params"] if (param not in outside) == in_window]
            if own:
                settings = {} if in_window else adam
                groups.append({**group, "params": own, "in_window": in_window, **settings})
    return groups


def _check_name(what: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise ValueError(f"{what}={name!r}: give {', '.join(names[:-1])} or {names[-1]}")
