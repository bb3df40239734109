"""`tupe import DIR -o OUT`: a model of Hugging Face's transformers, for `fairseq-train`.

    OUT/checkpoint.pt        for --restore-file or --finetune-from-model
    OUT/model.args           the options of --arch tupe_* that it needs
    OUT/sentences.args       those of --task sentence_prediction
    OUT/dict.txt, vocab.txt or encoder.json, vocab.bpe, vocab.json, cleaning.txt, manifest.json
                             for `preprocess/glue.sh --data-bin OUT` and `pretrain.sh`
    OUT/label/dict.txt       names of the classes, if it is a classifier, which `tupe predict OUT
                             --text FILE` runs as it is

The ids are fairseq's: its four special symbols, then the units in the model's order, then <mask>.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..checkpoint.imported import ImportedModel

CHECKPOINT, MODEL_ARGS, SENTENCES_ARGS = "checkpoint.pt", "model.args", "sentences.args"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="DIR_OR_FILE",
        type=Path,
        help="a folder with config.json, a tokenizer and safetensors or pytorch_model.bin; or the "
        "file of weights in it",
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, required=True, help="the folder to make"
    )


def run(args: argparse.Namespace) -> int:
    from ..checkpoint.imported import import_model
    from ..checkpoint.whole_file import whole_folder
    from ..core.dictionary_symbols import FAIRSEQ_SYMBOLS, MASK

    with whole_folder(args.output) as folder:
        model = import_model(args.source, data=args.output.absolute())
        write_imported(model, folder)
    options, added = model.options, {*FAIRSEQ_SYMBOLS, MASK}
    print(
        f"wrote {args.output}: {model.family.model_type}, {options['encoder_layers']} layers x "
        f"{options['encoder_embed_dim']}, {len(model.symbols) + len(added):,} symbols\n"
        f"data:  preprocess/glue.sh --data-bin {args.output} GLUE_DIR TASK DATA\n"
        f"train: fairseq-train DATA/TASK-bin --user-dir tupe_plugin "
        f"--restore-file {args.output}/{CHECKPOINT} --reset-optimizer --reset-dataloader "
        f"--reset-meters --reset-lr-scheduler --task sentence_prediction "
        f"$(cat {args.output}/{MODEL_ARGS} {args.output}/{SENTENCES_ARGS}) ..."
    )
    return 0


def write_imported(model: ImportedModel, folder: Path) -> None:
    """Write all the files."""
    from ..checkpoint.write import write_checkpoint

    write_checkpoint(folder / CHECKPOINT, model.state)
    _write_lines(folder / MODEL_ARGS, model_options(model))
    separator = ["--separator-token 2"] if model.family.separators == 2 else []
    _write_lines(folder / SENTENCES_ARGS, ["--init-token 0", *separator])
    _write_vocabulary(model, folder)
    if model.classes is not None:
        (folder / "label").mkdir()
        names = ["_".join(name.split()) for name in model.classes]
        _write_lines(folder / "label" / "dict.txt", [f"{name} 1" for name in names])
        (folder / "input0").mkdir()  # where the data of a fine-tuned model have it
        shutil.copyfile(folder / "dict.txt", folder / "input0" / "dict.txt")


def model_options(model: ImportedModel) -> list[str]:
    """The options of the command line, one each."""
    from ..checkpoint.imported import ARCH

    options = [f"--arch {ARCH}"]
    for name, value in model.options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            options += [flag] if value else []
        else:
            options.append(f"{flag} {value}")
    return options


def _write_vocabulary(model: ImportedModel, folder: Path) -> None:
    from ..checkpoint.tokenizer_files import gpt2_encoder

    vocabulary = model.vocabulary
    if vocabulary.merges is None:
        units, step = model.symbols, "apply_wordpiece"
        _write_lines(folder / "vocab.txt", vocabulary.tokens)
    else:
        numbers = gpt2_encoder(vocabulary.merges)
        units = [str(numbers.get(unit, unit)) for unit in model.symbols]
        step = "apply_gpt2_bpe"
        _write_json(folder / "encoder.json", numbers)
        _write_json(folder / "vocab.json", {t: row for row, t in enumerate(vocabulary.tokens)})
        merges = [" ".join(pair) for pair in vocabulary.merges]
        _write_lines(folder / "vocab.bpe", ["#version: 0.2", *merges])
    _write_lines(folder / "dict.txt", [f"{unit} 1" for unit in units])
    _write_lines(folder / "cleaning.txt", [step])
    cased = "" if vocabulary.lowercase and vocabulary.merges is None else "yes"
    manifest = {"options": {"cased": cased, "tokenizer": step.removeprefix("apply_")}}
    _write_json(folder / "manifest.json", manifest)


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
