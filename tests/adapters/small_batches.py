"""A small TUPE-R, or fairseq's RoBERTa, with a batch of either task as a criterion gets it."""

from __future__ import annotations

import argparse
import copy
import functools
import types
from typing import Any

import torch
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY
from fairseq.data import Dictionary
from fairseq.models.roberta import RobertaModel
from fairseq.models.roberta.model import base_architecture
from fairseq.tasks.masked_lm import MaskedLMTask

from tests.core.random_parameters import randomized
from tupe_plugin.models.tupe import TupeConfig, TupeModel

BATCH, SEQ, VOCAB, PAD = 5, 7, 23, 1
HEAD = "sentence_classification_head"


def dictionary(symbols: int = VOCAB) -> Dictionary:
    made = Dictionary()
    for number in range(symbols - len(made)):
        made.add_symbol(f"w{number}")
    return made


def task(*, classes: int = 3) -> Any:
    """What the criterions ask of a task."""
    words = dictionary()
    labels = Dictionary()
    for label in range(classes):
        labels.add_symbol(f"label{label}")
    cfg = types.SimpleNamespace(num_classes=classes, tokens_per_sample=None)
    return types.SimpleNamespace(
        cfg=cfg, source_dictionary=words, target_dictionary=words, label_dictionary=labels
    )


def model(
    *, classes: int = 3, dropout: float = 0.2, std: float = 0.2, encoder: str = "tupe"
) -> TupeModel | RobertaModel:
    """In float64 and training mode, with parameters far from their initial values."""
    return copy.deepcopy(_built_once(encoder, classes, dropout, std))


@functools.cache
def _built_once(encoder: str, classes: int, dropout: float, std: float) -> Any:
    sizes = {
        "encoder_layers": 2,
        "encoder_embed_dim": 15,
        "encoder_ffn_embed_dim": 11,
        "encoder_attention_heads": 3,
        "max_positions": 13,
        "dropout": dropout,
        "attention_dropout": dropout,
        "pooler_dropout": dropout,
    }
    torch.manual_seed(1)
    if encoder == "tupe":
        made = TupeModel.build_model(TupeConfig(rel_pos=True, **sizes), task(classes=classes))
    else:
        args = argparse.Namespace(**sizes)
        base_architecture(args)
        made = RobertaModel.build_model(args, task(classes=classes))
    made.register_classification_head(HEAD, num_classes=classes)
    return randomized(made, std=std).train()


def criterion(name: str, kind: str = "classification", **options: Any) -> Any:
    """In training mode; built as fairseq does it, for one of its tasks."""
    cfg = CRITERION_DATACLASS_REGISTRY[name]()
    given = {"ddp_backend": "c10d", "tpu": False, "regression_target": kind == "regression"}
    for key, value in {**given, **options}.items():
        setattr(cfg, key, value)
    made_for = task(classes=1 if kind == "regression" else 3)
    if kind == "masked_lm":
        made_for = MaskedLMTask.__new__(MaskedLMTask)
        made_for.dictionary = dictionary()
    return CRITERION_REGISTRY[name].build_criterion(cfg, made_for).train()


def tokens() -> torch.Tensor:
    """``(batch, seq)``: sentences of 7, 7, 5, 2 and 1 tokens."""
    generator = torch.Generator().manual_seed(2)
    made = torch.randint(4, VOCAB, (BATCH, SEQ), generator=generator)
    made[:, 0] = 0
    for row, length in enumerate((7, 7, 5, 2, 1)):
        made[row, length:] = PAD
    return made


def sentences(*, regression: bool = False) -> dict[str, Any]:
    """A batch of the sentence-prediction task."""
    src_tokens = tokens()
    targets = torch.tensor([0, 2, 1, 1, 0])
    return {
        "net_input": {"src_tokens": src_tokens, "src_lengths": src_tokens.ne(PAD).sum(1)},
        "target": (targets / 3 if regression else targets).view(-1, 1),
        "ntokens": int(src_tokens.ne(PAD).sum()),
        "nsentences": BATCH,
    }


def masked_tokens(*, masked: bool = True) -> dict[str, Any]:
    """A batch of the masked-LM task; without ``masked`` there is nothing to predict in it."""
    src_tokens = tokens()
    target = torch.full_like(src_tokens, PAD)
    if masked:
        for row, position in ((0, 2), (0, 5), (1, 1), (2, 4), (3, 1)):
            target[row, position] = src_tokens[row, position]
            src_tokens[row, position] = VOCAB - 1
    return {
        "net_input": {"src_tokens": src_tokens, "src_lengths": src_tokens.ne(PAD).sum(1)},
        "target": target,
        "ntokens": int(src_tokens.ne(PAD).sum()),
        "nsentences": BATCH,
    }
