"""What a raw sentence goes through to look like the text that a model was trained on.

FOLDER/cleaning.txt                 names of steps, as pretrain.sh and glue.sh record them
FOLDER/bpe.codes, or vocab.txt, or encoder.json and vocab.bpe
                                    what words are cut into units by
FOLDER/manifest.json                options; "cased": "yes" belongs to vocab.txt, and
                                    label_scale.py reads another
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .line_steps import UnitFiles, build_line_steps
from .text_treatment import TextTreatment

STEPS, CODES, VOCABULARY, MANIFEST = "cleaning.txt", "bpe.codes", "vocab.txt", "manifest.json"
GPT2_ENCODER, GPT2_MERGES = "encoder.json", "vocab.bpe"
GPT2_ORDER = "vocab.json"  # the numbers that an export gives the units
RECORD = f"{STEPS} with {CODES}, {VOCABULARY}, or {GPT2_ENCODER} and {GPT2_MERGES}"
"""The files of a treatment, for messages."""


class TreatmentError(ValueError):
    """What is recorded of a text's treatment cannot be used; the message says what and where."""


def read_treatment(folder: Path) -> TextTreatment | None:
    """What a folder of data records; None if it records nothing.

    Raises:
        TreatmentError: the record is damaged, or incomplete.
        MissingLibraryError: a step needs a library that is not installed.
        OSError: a file cannot be read.
    """
    names = read_line_steps(folder)
    if names is None:
        return None
    files = unit_files_in(folder)
    if files.step == "apply_bpe":
        if not (folder / CODES).is_file():
            raise TreatmentError(
                f"{folder / STEPS} says how text was cleaned, but {folder} has no {CODES} or "
                f"{VOCABULARY}, by which it was cut into units: copy the one of the pre-training's "
                "data"
            )
        names += ("apply_bpe",)
    try:
        steps = build_line_steps(names, files)
        of_gpt2 = files.step == "apply_gpt2_bpe"
        return TextTreatment(steps, _gpt2_units(folder) if of_gpt2 else None)
    except UnicodeDecodeError as error:
        raise TreatmentError(f"{folder}: {CODES} or {VOCABULARY} is not UTF-8: {error}") from error
    except ValueError as error:
        raise TreatmentError(f"{folder}: {error}") from error


def read_line_steps(folder: Path) -> tuple[str, ...] | None:
    """The names of the steps that a folder records; None if it records nothing.

    Raises:
        TreatmentError: the record is damaged.
    """
    path = folder / STEPS
    if not path.is_file():
        return None
    return tuple(name for name in _text(path).strip().split(",") if name)


def unit_files_in(folder: Path) -> UnitFiles:
    """What a folder's text was cut into units by; `bpe.codes` if there is no vocabulary.

    Raises:
        TreatmentError: the record of the vocabulary's case is damaged.
    """
    if (folder / VOCABULARY).is_file():
        return UnitFiles(
            vocab=folder / VOCABULARY, cased=manifest_options(folder).get("cased") == "yes"
        )
    if (folder / GPT2_ENCODER).is_file():
        return UnitFiles(bpe_codes=folder / GPT2_MERGES, vocab=folder / GPT2_ENCODER)
    return UnitFiles(bpe_codes=folder / CODES)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TreatmentError(f"{path} is not UTF-8 text") from error


def _gpt2_units(folder: Path) -> dict[str, str]:
    """`262` -> `Ġthe`."""
    return {str(number): unit for unit, number in json.loads(_text(folder / GPT2_ENCODER)).items()}


def manifest_options(folder: Path) -> Mapping[str, object]:
    """What the manifest of a folder of data records of the options; nothing where there is none.

    Raises:
        TreatmentError: it is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        options = json.loads(_text(path))["options"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise TreatmentError(f"{path} is damaged: it has no options") from error
    return options if isinstance(options, Mapping) else {}
