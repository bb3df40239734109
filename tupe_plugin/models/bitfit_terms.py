"""``--bitfit-terms``, an option of the model, so that it goes with every criterion."""

from typing import Any

from torch import nn

from ..core.bitfit import ALL, ROLES, parse_roles, train_only_biases
from ..core.bounds import Text

BITFIT_TERMS = (
    Text(parse_roles, f"{ALL}, or a comma-separated list of {', '.join(ROLES)}"),
    "BitFit: train only these bias terms and the classification head (default: train everything)",
)
"""Bound and help of the option."""


def freeze_all_but_biases(model: nn.Module, cfg: Any) -> None:
    """Do what the option says to a model that has no classification head yet; heads train."""
    terms = getattr(cfg, "bitfit_terms", None)  # older checkpoints do not have it
    if terms is not None:
        model.requires_grad_(False)
        train_only_biases(model, terms)
