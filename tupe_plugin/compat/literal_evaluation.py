"""Text in a configuration is a value, and never a program."""

from __future__ import annotations

import ast
import operator
from typing import Any

# Every module of fairseq that calls `eval`; tests/compat/test_fairseq_scan.py finds a new one.
MODULES = (
    "fairseq.criterions.ctc",
    "fairseq.data.audio.raw_audio_dataset",
    "fairseq.data.codedataset",
    "fairseq.models.fconv",
    "fairseq.models.fconv_lm",
    "fairseq.models.fconv_self_att",
    "fairseq.models.hubert.hubert",
    "fairseq.models.lightconv_lm",
    "fairseq.models.speech_to_text.s2t_wav_transformer",
    "fairseq.models.transformer_lm",
    "fairseq.models.wav2vec.wav2vec",
    "fairseq.models.wav2vec.wav2vec2",
    "fairseq.optim.adafactor",
    "fairseq.optim.adam",
    "fairseq.optim.adamax",
    "fairseq.optim.cpu_adam",
    "fairseq.optim.fused_lamb",
    "fairseq.utils",
)
LONGEST_TEXT = 10_000
MOST_ITEMS = 10_000

_OPERATORS: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_SEQUENCES = (list, tuple)


class NotAValueError(ValueError):
    """A text is no literal, and no sum or product of literals."""


class NotATextError(TypeError):
    """What is given is a value already. fairseq asks for this type, and then takes the value."""


def evaluate_values_only(module: Any) -> None:
    """A checkpoint's `conv_feature_layers`, `wer_args`, `encoder_layers` ... are run as Python.

    Where: fairseq/models/wav2vec/wav2vec2.py:299 and wherever else fairseq calls `eval`.
    When: a model, criterion or optimizer is built from the settings in a file.
    Fix: in these modules `eval` knows literals, and `+ - * /` of them, which is what fairseq's own
    defaults consist of: `[(512, 10, 5)] + [(512, 3, 2)] * 4`. docs/decisions/checkpoint-safety.md.
    """
    module.eval = value_of


def value_of(text: str) -> Any:
    """The value of a literal, or of sums and products of literals.

    Raises:
        NotAValueError: it is anything else, or would be very large.
        NotATextError: it is no text.
    """
    shown = f"{text!s:.60}"
    if not isinstance(text, str):
        raise NotATextError(f"{shown} should be the text of a value")
    try:
        if len(text) > LONGEST_TEXT:
            raise ValueError
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (ArithmeticError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError) as no:
        raise NotAValueError(
            f"{shown} is no plain value (numbers, text, lists, and + - * / of them); fairseq would "
            "run it as a program"
        ) from no


def _value(node: ast.expr) -> Any:
    if not isinstance(node, ast.BinOp):
        if isinstance(node, (ast.List, ast.Tuple)):
            return (list if isinstance(node, ast.List) else tuple)(map(_value, node.elts))
        return ast.literal_eval(node)
    if type(node.op) not in _OPERATORS:
        raise ValueError
    left, right = _value(node.left), _value(node.right)
    sizes = [len(side) if isinstance(side, _SEQUENCES) else side for side in (left, right)]
    if not all(isinstance(size, (int, float)) for size in sizes):
        raise ValueError
    if isinstance(left, _SEQUENCES) or isinstance(right, _SEQUENCES):
        result_size = sizes[0] * sizes[1] if isinstance(node.op, ast.Mult) else sum(sizes)
        if result_size > MOST_ITEMS:
            raise ValueError
    return _OPERATORS[type(node.op)](left, right)
