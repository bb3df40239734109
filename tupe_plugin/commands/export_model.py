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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        type=Path,
        help="of fairseq-train, or the folder of a run: its checkpoint_best.pt",
    )
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
    from ..checkpoint.exported_tokenizer import why_no_tokenizer
    from ..checkpoint.run_folder import checkpoint_in
    from ..core.whole_file import whole_folder

    checkpoint = checkpoint_in(args.checkpoint) or args.checkpoint
    model = export_model(checkpoint, data=args.data)
    with whole_folder(args.output) as folder:
        write_exported(model, folder, title=args.output.name, checkpoint=checkpoint.name)
    print(f"wrote {args.output}: {model.class_name}")
    if model.lacks_names:
        print(
            f"its classes are named LABEL_0, LABEL_1 ...: {model.data.folder} has no "
            "label/dict.txt; give --data the data that it was fine-tuned on"
        )
    problem = why_no_tokenizer(model.data)
    if problem is not None:
        print(f"without a tokenizer: {problem}")
    return 0
