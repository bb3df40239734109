"""`tupe export CHECKPOINT -o DIR`: a stock model of Hugging Face's transformers.

    DIR/config.json, model.safetensors      BertModel, RobertaForMaskedLM ...
    DIR/tokenizer.json, tokenizer_config.json   gives the ids of our preprocessing for a raw string
    DIR/README.md                           the model's card

BERT-A becomes BERT, fairseq's `--arch roberta` RoBERTa, BERT-R MPNet; TUPE's own position schemes
have no stock model. A checkpoint with a classification head becomes ForSequenceClassification, one
with a masked-LM head ForMaskedLM.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoint.errors import UnusableCheckpointError
from ..core.class_labels import classes_among
from ..data.dictionary_file import dictionary_in, symbols_in

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

    from ..checkpoint.exported import ExportedModel
    from ..checkpoint.tokenizer_files import Vocabulary

_CARD = """---
library_name: transformers
tags: [tupe_plugin, {kind}]
---
# {title}

A `{class_name}` that `tupe export` made of the fairseq checkpoint `{checkpoint}`: {layers} layers x
{width}, {heads} heads, sequences of up to {length} tokens, {symbols:,} symbols.

```python
from transformers import AutoTokenizer, {class_name}

model = {class_name}.from_pretrained(".")
{tokenizer}```

{classes}Its text: {text}.

Training data, intended use and limits: not recorded in the checkpoint; to be filled in.
"""


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
    from safetensors.torch import save_file

    from ..checkpoint.exported import export_model
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
        weights = _each_in_its_own_memory(model.weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        _write_json(folder / "config.json", model.config)
        if model.tokens is not None and vocabulary is not None:
            _write_tokenizer(model, vocabulary, folder)
        (folder / "README.md").write_text(_card(model, args, vocabulary), encoding="utf-8")
    print(f"wrote {args.output}: {model.class_name}")
    if model.tokens is None:
        print(
            f"without a tokenizer: {data} has neither vocab.txt nor encoder.json, and Moses with "
            "BPE has no tokenizer in transformers; the ids are those of dict.txt behind <s> <pad> "
            "</s> <unk>"
        )
    return 0


def _each_in_its_own_memory(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """What safetensors writes: no parts of a larger tensor. Empties `weights`, to save memory."""
    return {name: weights.pop(name).contiguous().clone() for name in list(weights)}


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


def _write_tokenizer(model: ExportedModel, vocabulary: Vocabulary, folder: Path) -> None:
    from ..core.dictionary_symbols import MASK

    specials = model.family.specials
    tokenizer = make_tokenizer(model, vocabulary)
    tokenizer.save(str(folder / "tokenizer.json"))
    first, last = specials["<s>"], specials["</s>"]
    names = ["input_ids", "attention_mask"]
    if model.family.separators == 1:
        names.insert(1, "token_type_ids")
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": _length(model),
            "model_input_names": names,
            **{"cls_token": first, "sep_token": last, "bos_token": first, "eos_token": last},
            "pad_token": specials["<pad>"],
            "unk_token": specials["<unk>"],
            "mask_token": specials[MASK],
        },
    )


def make_tokenizer(model: ExportedModel, vocabulary: Vocabulary) -> Tokenizer:
    """Cut text as preprocess/ does, and put the symbols of a sequence around it."""
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )

    assert model.tokens is not None
    specials = model.family.specials
    ids = {token: number for number, token in enumerate(model.tokens)}
    if vocabulary.merges is None:
        tokenizer = Tokenizer(models.WordPiece(ids, unk_token=specials["<unk>"]))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=vocabulary.lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
    else:
        merges = [pair for pair in vocabulary.merges if {*pair, "".join(pair)} <= ids.keys()]
        tokenizer = Tokenizer(models.BPE(ids, merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, lstrip=token == "<mask>") for token in specials.values()]
    )
    first, end = specials["<s>"], specials["</s>"]
    second = 1 if model.family.separators == 1 else 0
    between = " ".join([end] * model.family.separators)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {end}",
        pair=f"{first} $A {between} $B:{second} {end}:{second}",
        special_tokens=[(token, ids[token]) for token in (first, end)],
    )
    return tokenizer


def _length(model: ExportedModel) -> int:
    return int(model.config["max_position_embeddings"] - model.family.fixed["position_offset"])


def _card(model: ExportedModel, args: argparse.Namespace, vocabulary: Vocabulary | None) -> str:
    names = list(model.config.get("label2id", {}))
    if vocabulary is None:
        text = "Moses and BPE of tupe_plugin's preprocess/; there is no tokenizer here"
    elif vocabulary.merges is not None:
        text = "the BPE of GPT-2"
    else:
        text = f"WordPiece, {'without' if vocabulary.lowercase else 'with'} case and accents"
    return _CARD.format(
        kind=model.family.model_type,
        title=args.output.name,
        class_name=model.class_name,
        checkpoint=args.checkpoint.name,
        layers=model.config["num_hidden_layers"],
        width=model.config["hidden_size"],
        heads=model.config["num_attention_heads"],
        length=_length(model),
        symbols=model.config["vocab_size"],
        tokenizer='tokenizer = AutoTokenizer.from_pretrained(".")\n' if model.tokens else "",
        classes=f"Classes: {', '.join(names)}.\n\n" if names else "",
        text=text,
    )


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
