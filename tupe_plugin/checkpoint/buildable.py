"""What may be built because a file says so: models, tasks and criteria that were looked through.

A checkpoint names its model, task and criterion, and `fairseq-validate`, `fairseq-generate`,
`from_pretrained`, `tupe predict` and `tupe average` build what it names. Of fairseq that is what
stands below: models whose constructors run no text as code (compat/literal_evaluation.py reads the
lists that some have as text), start no program and read no other file. Ours may be built, and so
may those of a --user-dir that the user loads: these are the user's choice. What a user names on a
command line is not asked about here.
"""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from typing import Any

from .errors import UnsafeCheckpointError, UnusableCheckpointError
from .settings import entry

REVIEWED = tuple(
    f"fairseq.{name}"
    for name in (
        "models.bart.model",
        "models.fconv",
        "models.fconv_lm",
        "models.fconv_self_att",
        "models.hubert.hubert",
        "models.hubert.hubert_asr",
        "models.lightconv",
        "models.lightconv_lm",
        "models.lstm",
        "models.lstm_lm",
        "models.masked_lm",
        "models.multilingual_transformer",
        "models.nat.cmlm_transformer",
        "models.nat.insertion_transformer",
        "models.nat.iterative_nonautoregressive_transformer",
        "models.nat.levenshtein_transformer",
        "models.nat.nat_crf_transformer",
        "models.nat.nonautoregressive_transformer",
        "models.roberta.model",
        "models.roberta.model_camembert",
        "models.roberta.model_gottbert",
        "models.roberta.model_xlmr",
        "models.speech_to_speech.s2s_transformer",
        "models.speech_to_text.berard",
        "models.speech_to_text.convtransformer",
        "models.speech_to_text.s2t_conformer",
        "models.speech_to_text.s2t_transformer",
        "models.text_to_speech.fastspeech2",
        "models.text_to_speech.tacotron2",
        "models.text_to_speech.tts_transformer",
        "models.transformer.transformer_legacy",
        "models.transformer_align",
        "models.transformer_lm",
        "models.wav2vec.wav2vec",
        "models.wav2vec.wav2vec2",
        "models.wav2vec.wav2vec2_asr",
        "models.xmod.model",
        "tasks.audio_finetuning",
        "tasks.audio_pretraining",
        "tasks.cross_lingual_lm",
        "tasks.denoising",
        "tasks.hubert_pretraining",
        "tasks.language_modeling",
        "tasks.legacy_masked_lm",
        "tasks.masked_lm",
        "tasks.multilingual_denoising",
        "tasks.multilingual_masked_lm",
        "tasks.multilingual_translation",
        "tasks.sentence_prediction",
        "tasks.sentence_ranking",
        "tasks.speech_to_text",
        "tasks.translation",
        "tasks.translation_from_pretrained_bart",
        "tasks.translation_lev",
        "tasks.translation_multi_simple_epoch",
        "criterions.adaptive_loss",
        "criterions.cross_entropy",
        "criterions.ctc",
        "criterions.fastspeech2_loss",
        "criterions.hubert_criterion",
        "criterions.label_smoothed_cross_entropy",
        "criterions.label_smoothed_cross_entropy_with_alignment",
        "criterions.label_smoothed_cross_entropy_with_ctc",
        "criterions.legacy_masked_lm",
        "criterions.masked_lm",
        "criterions.model_criterion",
        "criterions.nat_loss",
        "criterions.sentence_prediction",
        "criterions.sentence_ranking",
        "criterions.speech_to_speech_criterion",
        "criterions.tacotron2_loss",
        "criterions.wav2vec_criterion",
    )
)
"""Modules of fairseq; what they may call is in tests/compat/test_fairseq_scan.py."""

LARGEST = 1_000_000
"""Of a model's sizes, and more than any has."""
_SIZE = re.compile(r"layers|dim|heads|positions|bins")
_LENGTH = re.compile(r"positions$|tokens_per_sample$")
_WIDTH = re.compile(r"dim$")
_FIRST_WEIGHTS = ("embed_path", "load_pretrained_encoder_from", "load_pretrained_decoder_from")
"""Ends of settings that name a file of weights with which a training began."""
_OTHER_FILES = (
    *("save_predictions", "pretrained_checkpoint"),
    *("lang_dict", "sampling_weights_from_file"),
    *("wer_args", "wer_kenlm_model", "wer_lexicon"),
)
"""Ends of settings that name a file which a constructor reads, or writes."""
_INSIDE = ("w2v_path", "w2v_args")
"""Of a fine-tuned speech model: a file, and the settings without which it would be read."""
_OF_THE_DATA = ("config_yaml",)
"""Settings that name a file in the folder of the data, and no other."""
_NAMES = {  # part -> the entries by which fairseq may choose, and the option
    "model": (("_name", "arch"), "--arch"),
    "task": (("task", "_name"), "--task"),
    "criterion": (("_name", "criterion"), "--criterion"),
}


PARTS = tuple(_NAMES)


def check_buildable(
    cfg: Any, path: Any, *, parts: Collection[str] = PARTS, chosen: Collection[str] = ()
) -> None:
    """Refuse a configuration that wants something else built, or something enormous.

    Args:
        cfg: fairseq's, or a namespace of all options (before fairseq 0.11).
        path: of the file, for the error.
        parts: those that the file decides on; the program has built the others already.
        chosen: names of settings that the user gave, over those in the file.

    Raises:
        UnsafeCheckpointError: a part was not looked through.
        UnusableCheckpointError: a part is not known at all, or a size is out of range.
    """
    for part in parts:
        entries, option = _NAMES[part]
        settings = entry(cfg, part)
        names = [name for name in (entry(settings, key) for key in entries) if name is not None]
        if part == "model" and settings is not None and not names:
            raise UnusableCheckpointError(f"{path} does not say what model it is of")
        for name in names:
            _check_part(part, name, option, path)
    for part in parts:
        settings = entry(cfg, part)
        other_file, instead = _INSIDE
        for name, value in _settings(settings):
            is_other = name.endswith(_OTHER_FILES) or (
                name == other_file and not entry(settings, instead)
            )
            if is_other and value and name not in chosen:
                raise UnsafeCheckpointError(
                    f"{path} asks for {_flag(name)} {value}, and no other file is read or written "
                    "because a checkpoint says so; to leave it out, give --model-overrides "
                    f"\"{{'{name}': None}}\""
                )
            if name in _OF_THE_DATA and name not in chosen and os.path.dirname(str(value)):
                raise UnsafeCheckpointError(
                    f"{path} asks for {_flag(name)} {value}, which is no file of the folder of data"
                )
    for name, value in _settings(entry(cfg, "model")):
        if _SIZE.search(name) and (_whole(value) or 0) > LARGEST:
            raise UnusableCheckpointError(
                f"{path} asks for {_flag(name)} {value}: above {LARGEST:,}"
            )


def forget_first_weights(settings: Any, chosen: Collection[str] = ()) -> None:
    """Clear the settings by which weights of another file would be read, to be replaced at once.

    A checkpoint has the weights that became of them.
    """
    values = vars(settings) if isinstance(settings, Namespace) else settings
    if not isinstance(values, MutableMapping):
        return
    for name, value in list(values.items()):
        if not str(name).endswith(_FIRST_WEIGHTS):
            forget_first_weights(value, chosen)
        elif value is not None and name not in chosen:
            values[name] = None


def largest_table(cfg: Any) -> tuple[int, str]:
    """Numbers of the largest table of positions that the settings ask for, and the settings.

    A model inside of another has its own sizes: a fine-tuned wav2vec has none of the outer ones.
    Tables that are computed, such as fairseq's sinusoids, are full before a module has them.
    """
    inner = entry(entry(cfg, "model"), _INSIDE[1])
    return max(
        _largest_table(
            setting
            for part in ("model", "task")
            for setting in _settings(entry(cfg, part), without=_INSIDE)
        ),
        _largest_table(_settings(inner)),
    )


def _largest_table(settings: Iterator[tuple[str, Any]]) -> tuple[int, str]:
    sizes = [(_whole(value) or 0, name) for name, value in settings]
    positions, of = max((one for one in sizes if _LENGTH.search(one[1])), default=(0, ""))
    dim, across = max((one for one in sizes if _WIDTH.search(one[1])), default=(0, ""))
    return positions * dim, f"{_flag(of)} {positions} with {_flag(across)} {dim}"


def _check_part(part: str, name: Any, option: str, path: Any) -> None:
    chosen = _registry(part).get(name) if isinstance(name, str) else None
    if chosen is None:
        if part == "criterion":
            return  # not needed to use a model; whoever builds it has its own error
        hint = (
            "a tupe model needs `import tupe_plugin` first, or user_dir='tupe_plugin'"
            if str(name).startswith("tupe")
            else "load the plug-in that it comes from"
        )
        raise UnusableCheckpointError(f"{path} is of {option} {name}, which is not known: {hint}")
    module = chosen.__module__
    if module.split(".")[0] in ("fairseq", "fairseq_cli") and module not in REVIEWED:
        raise UnsafeCheckpointError(
            f"{path} asks for {option} {name} ({module}), which is not built here because a file "
            "says so: its settings may be run as code. Those of checkpoint/buildable.py are; see "
            "docs/decisions/checkpoint-safety.md. `fairseq-train --restore-file` takes the file, "
            "with the model named on the command line"
        )


def _registry(part: str) -> dict[str, Any]:
    from fairseq.criterions import CRITERION_REGISTRY
    from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_REGISTRY
    from fairseq.tasks import TASK_REGISTRY

    return {
        "model": {**MODEL_REGISTRY, **ARCH_MODEL_REGISTRY},
        "task": TASK_REGISTRY,
        "criterion": CRITERION_REGISTRY,
    }[part]


def _settings(settings: Any, without: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
    """Names and values, those of the parts in it too; `check_plain` has bounded their depth."""
    if isinstance(settings, Namespace):
        settings = vars(settings)
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            if name not in without:
                yield str(name), value
                yield from _settings(value, without)


def _whole(value: Any) -> int | None:
    """A whole number, as omegaconf takes it: from text too."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return None
    return value if isinstance(value, int) else None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
