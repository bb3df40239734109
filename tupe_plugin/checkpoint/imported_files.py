"""The folder that `tupe import` makes of a model of Hugging Face's transformers.

The files are listed in `commands/import_model.py`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ..data.dictionary_file import NAME
from ..data.label_scale import LABEL_SCALE
from ..data.treatment import (
    CODES,
    GPT2_ENCODER,
    GPT2_MERGES,
    GPT2_ORDER,
    MANIFEST,
    STEPS,
    VOCABULARY,
)
from .formats.hugging_face import SEPARATORS
from .imported import ARCH, ImportedModel
from .model_folder import write_json
from .run_folder import OF_IMPORT
from .tokenizer_files import gpt2_encoder
from .write import write_checkpoint

MODEL_ARGS, SENTENCES_ARGS = "model.args", "sentences.args"


def write_imported(model: ImportedModel, folder: Path) -> None:
    """Write all the files."""
    write_checkpoint(folder / OF_IMPORT, model.state)
    _write_lines(folder / MODEL_ARGS, _model_options(model))
    separator = ["--separator-token 2"] if model.separators == 2 else []
    _write_lines(folder / SENTENCES_ARGS, ["--init-token 0", *separator])
    _write_vocabulary(model, folder)
    if model.classes is not None:
        (folder / "label").mkdir()
        _write_lines(folder / "label" / NAME, [f"{name} 1" for name in model.classes])
        (folder / "input0").mkdir()  # where the data of a fine-tuned model have it
        shutil.copyfile(folder / NAME, folder / "input0" / NAME)


def _model_options(model: ImportedModel) -> list[str]:
    """The options of the command line, one each."""
    options = [f"--arch {ARCH}"]
    for name, value in model.options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            options += [flag] if value else []
        else:
            options.append(f"{flag} {value}")
    return options


def _write_vocabulary(model: ImportedModel, folder: Path) -> None:
    vocabulary, units = model.vocabulary, model.symbols
    if vocabulary.moses is not None:
        steps, tokenizer = ",".join(vocabulary.moses.steps), "moses"
        (folder / CODES).write_text(vocabulary.moses.codes, encoding="utf-8", newline="")
    elif vocabulary.merges is None:
        steps, tokenizer = "apply_wordpiece", "wordpiece"
        _write_lines(folder / VOCABULARY, vocabulary.tokens)
    else:
        steps, tokenizer = "apply_gpt2_bpe", "gpt2_bpe"
        numbers = gpt2_encoder(vocabulary.merges)
        units = [str(numbers.get(unit, unit)) for unit in units]
        write_json(folder / GPT2_ENCODER, numbers)
        write_json(folder / GPT2_ORDER, {t: row for row, t in enumerate(vocabulary.tokens)})
        merges = [" ".join(pair) for pair in vocabulary.merges]
        _write_lines(folder / GPT2_MERGES, ["#version: 0.2", *merges])
    _write_lines(folder / NAME, [f"{unit} 1" for unit in units])
    _write_lines(folder / STEPS, [steps])
    cased = "" if vocabulary.lowercase and vocabulary.merges is None else "yes"
    options: dict[str, object] = {"cased": cased, "tokenizer": tokenizer}
    options[SEPARATORS] = model.separators
    if model.classes is not None:
        options[LABEL_SCALE] = model.label_scale  # whatever the folder's name
    write_json(folder / MANIFEST, {"options": options})


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
