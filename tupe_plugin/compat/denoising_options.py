"""`--task denoising`, the pre-training of BART."""

from __future__ import annotations

import argparse
import functools
from typing import Any


def let_denoising_share_options_with_its_model(denoising: Any) -> None:
    """`argparse.ArgumentError: argument --max-source-positions: conflicting option string`.

    Where: fairseq/tasks/denoising.py:110 adds an option that models have, too. Tasks of the newer
    kind leave such an option to the model.
    When: `--task denoising` or `multilingual_denoising` with any model that is a transformer.
    Fix: the option is that of the task, with its default, and the model reads it as well.
    Upstream: https://github.com/facebookresearch/fairseq/issues/4416
    """
    original = denoising.DenoisingTask.add_args

    @functools.wraps(original)
    def add_args(parser: Any) -> None:
        original(_SharingParser(parser))

    denoising.DenoisingTask.add_args = staticmethod(add_args)


class _SharingParser:
    """An option that there is gets another default, and no second meaning."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def add_argument(self, flag: str, **named: Any) -> None:
        try:
            self._parser.add_argument(flag, **named)
        except argparse.ArgumentError:
            self._parser.set_defaults(**{flag.lstrip("-").replace("-", "_"): named["default"]})
