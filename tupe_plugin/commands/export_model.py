"""`tupe export CHECKPOINT -o DIR`: a model of Hugging Face's transformers.

    DIR/config.json, model.safetensors      BertModel, RobertaForMaskedLM ...
    DIR/modeling_tupe.py ...                TUPE's own code, where no stock model is like it
    DIR/tokenizer.json, tokenizer_config.json   gives the ids of our preprocessing for a raw string
    DIR/tokenization_tupe.py ..., dict.txt, bpe.codes, cleaning.txt     the same for Moses and BPE
    DIR/README.md                           the model's card

BERT-A becomes BERT, fairseq's `--arch roberta` RoBERTa, BERT-R MPNet; everything else becomes a
model of our own, which `trust_remote_code=True` loads without fairseq and without this package. A
checkpoint with a classification head becomes ForSequenceClassification, one with a masked-LM head
ForMaskedLM.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoint.errors import UnusableCheckpointError
from ..core.class_labels import classes_among
from ..data.dictionary_file import dictionary_in, symbols_in

if TYPE_CHECKING:
    from ..checkpoint.tokenizer_files import Vocabulary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="of fairseq-train")
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, required=True, help="the folder to make"
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        help="the data that it was trained on, or the folder of tupe import (default: what the "
        "checkpoint names)",
    )


def run(args: argparse.Namespace) -> int:
    from ..checkpoint.exported import export_model
    from ..checkpoint.exported_files import write_exported
    from ..checkpoint.exported_tokenizer import why_not
    from ..checkpoint.read import read_lazily
    from ..checkpoint.settings import settings_of
    from ..checkpoint.tokenizer_files import read_units
    from ..core.whole_file import whole_folder

    named = settings_of(read_lazily(args.checkpoint), "task").get("data")
    data = args.data or Path(str(named or args.checkpoint.parent))
    # Its order is that of the model from which the checkpoint was imported, if any.
    vocabulary = read_units(data)
    units = _units(data, vocabulary)
    model = export_model(
        args.checkpoint, vocabulary=vocabulary, units=units, classes=_classes(data)
    )
    with whole_folder(args.output) as folder:
        write_exported(
            model,
            folder,
            vocabulary=vocabulary,
            data=data,
            title=args.output.name,
            checkpoint=args.checkpoint.name,
        )
    print(f"wrote {args.output}: {model.class_name}")
    problem = why_not(vocabulary, data)
    if problem is not None:
        print(f"without a tokenizer: {problem}")
    return 0


def _units(data: Path, vocabulary: Vocabulary | None) -> list[str]:
    from ..checkpoint.tokenizer_files import gpt2_encoder

    path = dictionary_in(data)
    if path is None:
        raise UnusableCheckpointError(
            f"{data} has no dict.txt: give --data the data that the checkpoint was trained on"
        )
    units = symbols_in(path)
    if vocabulary is None or vocabulary.merges is None:
        return units
    names = {str(number): unit for unit, number in gpt2_encoder(vocabulary.merges).items()}
    return [names.get(unit, unit) for unit in units]


def _classes(data: Path) -> list[str] | None:
    path = data / "label" / "dict.txt"
    if not path.is_file():
        return None
    return classes_among(symbols_in(path))
