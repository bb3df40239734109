"""``--bitfit-terms`` for fairseq's own RoBERTa, and what its checkpoints say of the model.

It is otherwise left as it is. Its options are declared in the old way, by ``add_args``; so is this
one.
"""

import functools
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from fairseq.models.roberta import RobertaModel
from torch import Tensor

from .bitfit_terms import BITFIT_TERMS, freeze_all_but_biases
from .checkpoint_fit import different_settings, takes_over_a_head
from .tupe_options import named

_add_args, _build_model = RobertaModel.add_args, RobertaModel.build_model.__func__


def add_args(parser: ArgumentParser) -> None:
    _add_args(parser)
    _, text = BITFIT_TERMS
    parser.add_argument("--bitfit-terms", metavar="LIST", help=text)


@functools.wraps(_build_model)
def build_model(cls: Any, args: Any, task: Any) -> RobertaModel:
    model: RobertaModel = _build_model(cls, args, task)
    freeze_all_but_biases(model, args)
    return model


def why_not_fit(
    self: RobertaModel, theirs: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> str | None:
    """Settings that change no size, and so would be loaded without a word."""
    names = ["encoder_attention_heads", "activation_fn"]
    new_ones = getattr(self.args, "load_checkpoint_heads", False)
    if takes_over_a_head(weights, own=self.classification_heads, new_ones=new_ones):
        names.append("pooler_activation_fn")
    return different_settings(theirs, named(self.args), names)


RobertaModel.add_args = staticmethod(add_args)
RobertaModel.build_model = classmethod(build_model)
RobertaModel.why_not_fit = why_not_fit
