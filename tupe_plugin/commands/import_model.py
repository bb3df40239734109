"""`tupe import DIR -o OUT`: a model of Hugging Face's transformers, for `fairseq-train`.

    OUT/checkpoint.pt        for --restore-file or --finetune-from-model
    OUT/model.args           the options of --arch tupe_* that it needs
    OUT/sentences.args       those of --task sentence_prediction
    OUT/dict.txt, cleaning.txt, manifest.json, and vocab.txt, or encoder.json, vocab.bpe and
        vocab.json, or bpe.codes
                             for `--data-bin OUT` of `tupe data task` and `tupe data corpus`
    OUT/label/dict.txt       names of the classes, if it is a classifier, which `tupe predict OUT
                             --text FILE` runs as it is

The ids are fairseq's: its four special symbols, then the units in the model's order, then <mask>.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path


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
    from ..checkpoint.imported_files import MODEL_ARGS, SENTENCES_ARGS, write_imported
    from ..checkpoint.run_folder import OF_IMPORT
    from ..core.dictionary_symbols import FAIRSEQ_SYMBOLS, MASK
    from ..core.whole_file import whole_folder

    with whole_folder(args.output) as folder:
        model = import_model(args.source, data=args.output.absolute())
        write_imported(model, folder)
    output = shlex.quote(str(args.output))
    options, added = model.options, {*FAIRSEQ_SYMBOLS, MASK}
    print(
        f"wrote {args.output}: {model.family.model_type}, {options['encoder_layers']} layers x "
        f"{options['encoder_embed_dim']}, {len(model.symbols) + len(added):,} symbols\n"
        f"data:  tupe data task --data-bin {output} GLUE_DIR TASK DATA\n"
        f"train: fairseq-train DATA/TASK-bin --user-dir tupe_plugin "
        f"--restore-file {output}/{OF_IMPORT} --reset-optimizer --reset-dataloader "
        f"--reset-meters --reset-lr-scheduler --task sentence_prediction "
        f"$(cat {output}/{MODEL_ARGS} {output}/{SENTENCES_ARGS}) ..."
    )
    return 0
