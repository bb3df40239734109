"""The steps that keep a line a line, by name: pre-training text, task data and raw sentences alike.

A step's library is imported when the step is built, so that nobody needs the libraries of others.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .libraries import MissingLibraryError
from .text_treatment import LineStep


@dataclass(frozen=True)
class UnitFiles:
    """What the steps that cut a line into units read."""

    bpe_codes: Path | None = None
    vocab: Path | None = None
    cased: bool = False
    """WordPiece: keep case and accents."""

    @property
    def step(self) -> str:
        """The name of the step that they are for."""
        if self.vocab is None:
            return "apply_bpe"
        return "apply_wordpiece" if self.bpe_codes is None else "apply_gpt2_bpe"


def build_line_steps(names: Iterable[str], files: UnitFiles) -> dict[str, LineStep]:
    """The steps by name, in the order given.

    Raises:
        ValueError: a step that does not exist, or lacks what it needs.
        MissingLibraryError: a step's library is not installed.
    """
    names = list(names)
    unknown = [name for name in names if name not in LINE_STEPS]
    if unknown:
        raise ValueError(f"no step {unknown[0]!r}; the steps are {', '.join(LINE_STEPS)}")
    return {name: LINE_STEPS[name](files) for name in names}


def _module(folder: str, step: str) -> Any:
    """The file of a step."""
    try:
        return importlib.import_module(f"{__package__}.{folder}.{step}")
    except ModuleNotFoundError as error:
        raise MissingLibraryError([str(error.name)], f"the step {step}") from error


def _each_line(function: Callable[[str], str]) -> LineStep:
    return lambda lines: [function(line) for line in lines]


def _text(step: str) -> Callable[[UnitFiles], LineStep]:
    return lambda files: _each_line(getattr(_module("text", step), step))


def _perl(script: str) -> Callable[[UnitFiles], LineStep]:
    def build(files: UnitFiles) -> LineStep:
        scripts = _module("text", "perl_scripts")
        scripts.scripts_folder()  # a script that is not there is said before any work is done
        return lambda lines: scripts.run_perl_script(script, lines)

    return build


def _apply_bpe(files: UnitFiles) -> LineStep:
    if files.bpe_codes is None:
        raise ValueError("apply_bpe needs --bpe-codes FILE")
    units = _module("units", "apply_bpe")
    return _each_line(units.BytePairEncoder(units.read_codes(files.bpe_codes)))


def _apply_wordpiece(files: UnitFiles) -> LineStep:
    if files.vocab is None:
        raise ValueError("apply_wordpiece needs --vocab FILE")
    units = _module("units", "apply_wordpiece")
    vocabulary = units.read_vocabulary(files.vocab)
    return _each_line(units.WordPieceEncoder(vocabulary, lowercase=not files.cased))


def _apply_gpt2_bpe(files: UnitFiles) -> LineStep:
    if files.vocab is None or files.bpe_codes is None:
        raise ValueError("apply_gpt2_bpe needs --vocab encoder.json and --bpe-codes vocab.bpe")
    units = _module("units", "apply_gpt2_bpe")
    return _each_line(units.GPT2Encoder(files.vocab, files.bpe_codes))


LINE_STEPS: dict[str, Callable[[UnitFiles], LineStep]] = {
    "replace_addresses": _text("replace_addresses"),
    "clean_punctuation": _text("clean_punctuation"),
    "normalize_punctuation": _text("normalize_punctuation"),
    "remove_nonprinting": _text("remove_nonprinting"),
    "split_hyphens": _text("split_hyphens"),
    "tokenize_words": _text("tokenize_words"),
    "perl_normalize_punctuation": _perl("normalize-punctuation.perl"),
    "perl_remove_nonprinting": _perl("remove-non-printing-char.perl"),
    "perl_tokenize_words": _perl("tokenizer.perl"),
    "lowercase_text": _text("lowercase_text"),
    "apply_bpe": _apply_bpe,
    "apply_wordpiece": _apply_wordpiece,
    "apply_gpt2_bpe": _apply_gpt2_bpe,
}
