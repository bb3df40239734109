"""A model of Hugging Face's transformers as a checkpoint of `--arch tupe_*`, and what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.bounds import Number
from ..core.class_labels import classes_among
from ..core.dictionary_symbols import FAIRSEQ_SYMBOLS
from ..data.label_scale import LABEL_SCALE
from .contents import check_finite
from .encoder_checkpoint import check_encoder
from .errors import UnusableCheckpointError, in_one_line
from .formats import HUGGING_FACE, HuggingFaceFamily
from .formats.config_values import default_label
from .formats.our_names import HEAD, HEAD_NAME
from .formats.vocabulary_rows import symbols_and_rows
from .head_shapes import check_heads
from .model_folder import CONFIG, folder_of, read_object, read_weights
from .tokenizer_files import Vocabulary, vocabulary_of_model
from .write import at_the_beginning

ARCH = "tupe_base"
"""Its sizes are all overridden; it stands for the model, as an architecture must be named."""
_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_KINDS = ("Model", "ForMaskedLM", "ForPreTraining", "ForSequenceClassification")
_PROBLEMS = ("single_label_classification", "regression")


@dataclass(frozen=True)
class ImportedModel:
    """Everything that fine-tuning or further pre-training needs."""

    family: HuggingFaceFamily
    options: dict[str, Any]
    """Of `--arch tupe_*`."""
    state: dict[str, Any]
    """The checkpoint."""
    vocabulary: Vocabulary
    """Theirs."""
    symbols: list[str]
    """What `dict.txt` lists."""
    classes: list[str] | None
    """Names of the classifier's outputs, if there is one."""
    separators: int
    """Between the texts of a pair."""
    label_scale: float
    """Official value of a regression / value of the model."""


def import_model(source: Path, *, data: Path = Path()) -> ImportedModel:
    """Read a folder of transformers, or the file of weights in it.

    Args:
        source: the folder or the file.
        data: where `dict.txt` and what cuts text into its units will be.

    Raises:
        CheckpointError: a file is missing or damaged, or such a model is not read.
        OSError: a file cannot be read.
    """
    folder = folder_of(source)
    config = read_object(folder / CONFIG)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in HUGGING_FACE:
        raise UnusableCheckpointError(
            f"{folder / CONFIG}: model_type is {kind!r}; supported: {', '.join(HUGGING_FACE)}"
        )
    family = HUGGING_FACE[kind]
    _check_kind(config, family, folder / CONFIG)
    options = family.options(config, folder / CONFIG)
    separators = family.separators_of(config, folder / CONFIG)
    vocabulary = vocabulary_of_model(folder)
    family = family.for_vocabulary(vocabulary.kind)
    theirs = read_weights(source)
    embedding = next((key for key in theirs if key.endswith(family.word_embedding)), None)
    if embedding is None or theirs[embedding].dim() != 2:
        raise UnusableCheckpointError(f"{source} has no {family.word_embedding}, a matrix")
    symbols, rows = symbols_and_rows(
        family.specials, vocabulary.tokens, len(theirs[embedding]), folder
    )
    family.check_special_ids(config, rows, folder / CONFIG)
    try:
        weights = family.to_ours(theirs, rows=rows, path=source)
    except (IndexError, RuntimeError) as error:
        raise UnusableCheckpointError(
            f"{source}: parts of it have sizes that do not go together ({in_one_line(error)})"
        ) from error
    _check_types(weights, source)
    check_finite(weights, source)
    check_encoder(weights, options, source)
    check_heads(weights, source)
    problem_of_head = family.misfit_of_lm_head(weights, options)
    if problem_of_head is not None:
        raise UnusableCheckpointError(f"{folder / CONFIG}: {problem_of_head}")
    head = weights.get(f"{HEAD}out_proj.bias")
    classes = None if head is None else _classes(config, len(head), folder / CONFIG)
    problem = config.get("problem_type")
    if classes and problem and (problem == "regression") != (len(classes) == 1):
        raise UnusableCheckpointError(
            f"{folder / CONFIG}: problem_type is {problem!r}, and the classifier's outputs are "
            f"{len(classes)}: one output is a regression, more are classes"
        )
    settings = (
        _of_pre_training(options, data)
        if classes is None
        else _of_fine_tuning(options, data, classes=len(classes), separators=separators)
    )
    return ImportedModel(
        family=family,
        options=options,
        state=at_the_beginning(weights, cfg=settings),
        vocabulary=vocabulary,
        symbols=symbols,
        classes=classes,
        separators=separators,
        label_scale=_label_scale(config, folder / CONFIG),
    )


def _label_scale(config: Mapping[str, Any], path: Path) -> float:
    """What `tupe export` records; the values of another model are taken as they are."""
    scale = config.get(LABEL_SCALE, 1.0)
    problem = Number(0, 1e6, open_below=True).problem(scale)
    if problem is not None:
        raise UnusableCheckpointError(f"{path}: {LABEL_SCALE} is {scale!r}; {problem}")
    return float(scale)


def _check_types(weights: Mapping[str, Tensor], source: Path) -> None:
    for key, value in weights.items():
        if value.dtype not in _TYPES:
            raise UnusableCheckpointError(
                f"{source}: {key} is of type {str(value.dtype).removeprefix('torch.')}; quantised "
                "weights are not read"
            )


def _check_kind(config: Mapping[str, Any], family: HuggingFaceFamily, path: Path) -> None:
    """Names of weights alone do not tell what a head is for."""
    read = [family.class_name + kind for kind in _KINDS]
    names = config.get("architectures") or []
    if not isinstance(names, list) or any(name not in read for name in names):
        raise UnusableCheckpointError(
            f"{path}: architectures is {names!r}; supported: {', '.join(read)}"
        )
    problem = config.get("problem_type")
    if problem is not None and problem not in _PROBLEMS:
        raise UnusableCheckpointError(
            f"{path}: problem_type is {problem!r}; supported: {', '.join(_PROBLEMS)}"
        )


def _of_pre_training(options: dict[str, Any], data: Path) -> dict[str, Any]:
    """fairseq's settings."""
    length = options["max_positions"]
    return {
        "model": {"_name": ARCH, **options},
        "task": {"_name": "masked_lm", "data": str(data), "tokens_per_sample": length},
        "criterion": {"_name": "masked_lm"},
    }


def _of_fine_tuning(
    options: dict[str, Any], data: Path, *, classes: int, separators: int
) -> dict[str, Any]:
    """The same of a classifier, or of a regression, which has one output in transformers too."""
    head = {
        "regression_target": classes == 1,
        "classification_head_name": HEAD_NAME,
    }
    return {
        "model": {"_name": ARCH, **options},
        "task": {
            "_name": "sentence_prediction",
            "data": str(data),
            "num_classes": classes,
            "init_token": 0,
            "separator_token": 2 if separators == 2 else None,
            "max_positions": options["max_positions"],
            **head,
        },
        "criterion": {"_name": "sentence_prediction", **head},
    }


def _classes(config: Mapping[str, Any], number: int, path: Path) -> list[str]:
    """What `label/dict.txt` lists."""
    names = config.get("id2label")
    names = names if isinstance(names, dict) else {}
    classes: list[str] = []
    for place in range(number):
        name = names.get(str(place), default_label(place))
        symbol = "_".join(str(name).split())
        if symbol in {"", *FAIRSEQ_SYMBOLS, *classes} or not classes_among([symbol]):
            raise UnusableCheckpointError(
                f"{path}: id2label calls class {place} {name!r}; give each class a name of its own "
                "(white space becomes _) which is no special symbol of fairseq"
            )
        classes.append(symbol)
    return classes
