"""Small models of Hugging Face's transformers with random weights, each in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from tupe_plugin.checkpoint.tokenizer_files import gpt2_symbols

POSITIONS, CLASSES = 13, 3  # the longest sequence
SIZES = {
    "hidden_size": 15,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 11,
    "initializer_range": 0.3,
    "hidden_dropout_prob": 0.2,
}
WORDS = ["a", "##b", "c", "##d", "é", "ab", "東", ".", ",", "A"]
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the")]

TOKENS = {
    "bert": [
        "[PAD]",
        "[unused0]",
        *WORDS[:3],
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *WORDS[3:],
        "[MASK]",
        "x",
    ],
    "mpnet": ["<s>", "<pad>", "</s>", "<unk>", "[PAD]", *WORDS[:4], "[UNK]", *WORDS[4:], "<mask>"],
    # Not in the order of GPT-2's: a mask among the first, as of a model trained from scratch.
    "roberta": [
        *("<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġthe", "the", "th", "<|endoftext|>"),
        *reversed(gpt2_symbols()),
        "madeupword0000",
    ],
}
SPECIALS = {  # of a sequence: what fairseq calls <s>, <pad>, </s>, <unk>, and <mask>
    "bert": ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"),
    "mpnet": ("<s>", "<pad>", "</s>", "[UNK]", "<mask>"),
    "roberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
}


class Saved(NamedTuple):
    """A model and the folder it was written to."""

    model: Any
    folder: Path
    tokens: list[str]

    @property
    def kind(self) -> str:
        return self.model.config.model_type


def save_model(folder: Path, name: str, *, classes: int = CLASSES, **saving: Any) -> Saved:
    """Make one of this class in float64, and write it with its tokenizer."""
    import transformers

    kind = next(kind for kind in TOKENS if name.lower().startswith(kind))
    config_class = {"bert": "BertConfig", "roberta": "RobertaConfig", "mpnet": "MPNetConfig"}[kind]
    unused = 0 if kind == "bert" else 2
    special = {} if kind == "bert" else {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    types = {"type_vocab_size": {"bert": 2, "roberta": 1}[kind]} if kind != "mpnet" else {}
    config = getattr(transformers, config_class)(
        vocab_size=len(TOKENS[kind]) + 2,  # two rows without a token
        max_position_embeddings=POSITIONS + unused,
        layer_norm_eps=1e-3,
        num_labels=classes,
        id2label={place: f"class {place}" for place in range(classes)},
        **SIZES,
        **special,
        **types,
    )
    torch.manual_seed(5)
    model = getattr(transformers, name)(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.double().save_pretrained(folder, **saving)
    write_tokenizer(folder, kind)
    return Saved(model, folder, TOKENS[kind])


def write_tokenizer(folder: Path, kind: str) -> None:
    """The vocabulary as transformers writes it today, or of RoBERTa in its older files."""
    vocabulary = {token: number for number, token in enumerate(TOKENS[kind])}
    if kind == "roberta":
        (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES), ""]
        (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
        return
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
