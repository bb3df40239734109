"""``--bitfit-terms`` for fairseq's own RoBERTa, which is otherwise left as it is.

Its options are declared in the old way, by ``add_args``; so this one is as well.
"""

import functools
from argparse import ArgumentParser
from typing import Any

from fairseq.models.roberta import RobertaModel

from .bitfit_terms import BITFIT_TERMS, freeze_all_but_biases

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


RobertaModel.add_args = staticmethod(add_args)
RobertaModel.build_model = classmethod(build_model)
