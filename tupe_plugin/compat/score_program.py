"""`fairseq-score --sacrebleu` and `--sentence-bleu`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from .module_view import ModuleView
from .training_program import program_called


def hand_over_lines_and_not_files(module: Any) -> None:
    """`TypeError: BLEU: Each element of `refs` should be a sequence of strings.`

    Where: fairseq_cli/score.py:61 gives open files to sacrebleu.
    When: sacrebleu >= 2.0, with `--sacrebleu`.
    Fix: what this program opens, and its standard input, is a sequence of lines as well. It is
    half imported when it imports fairseq, and with it this.
    Upstream: https://github.com/facebookresearch/fairseq/issues/3914
    """
    program = program_called("fairseq_cli.score")
    if program is not None:
        program.open = lambda path, mode="r": _Lines(Path(path).open)
        program.sys = ModuleView(sys, stdin=_Lines(lambda: sys.stdin))


def take_symbols_for_a_configuration(bleu: Any) -> None:
    """`TypeError: Scorer.__init__() takes 2 positional arguments but 4 were given`.

    Where: fairseq_cli/score.py:67, which was forgotten when the scorer got a configuration.
    When: `--sentence-bleu`.
    Fix: the scorer takes both.
    Upstream: https://github.com/facebookresearch/fairseq/issues/5056
    """
    original = bleu.Scorer.__init__

    @functools.wraps(original)
    def __init__(self: Any, cfg: Any, *rest: int) -> None:
        if rest:
            eos, unk = rest
            cfg = bleu.BleuConfig(pad=cfg, eos=eos, unk=unk)
        original(self, cfg)

    bleu.Scorer.__init__ = __init__


class _Lines(Sequence[str]):
    """The lines of a file, which is read when the first is wanted."""

    def __init__(self, open_file: Callable[[], TextIO]) -> None:
        self._open_file = open_file

    @functools.cached_property
    def _lines(self) -> list[str]:
        with self._open_file() as file:
            return file.readlines()

    def readlines(self) -> list[str]:
        return self._lines

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, place: Any) -> Any:
        return self._lines[place]

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        """The file is closed since it was read."""
