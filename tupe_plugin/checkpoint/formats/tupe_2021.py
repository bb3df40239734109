"""Names of the TUPE authors' checkpoints (2021, a fork of fairseq 0.9) and ours, both ways.

An ordered table of prefixes; the first that matches a key renames it.  Keys that match none are
the same in both formats, up to ``decoder.`` / ``encoder.`` at the front.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from .fairseq_roberta import is_roberta

T = TypeVar("T")

_ENCODER = "sentence_encoder."
_PROJECTION = _ENCODER + "positions.absolute.projection."

KEY_TABLE: tuple[tuple[str, str], ...] = tuple(
    (f"decoder.{theirs}", f"encoder.{ours}")
    for theirs, ours in (
        (_ENCODER + "pos.", _PROJECTION + "embedding."),
        (_ENCODER + "pos_ln.", _PROJECTION + "layer_norm."),
        (_ENCODER + "pos_q_linear.", _PROJECTION + "query."),
        (_ENCODER + "pos_k_linear.", _PROJECTION + "key."),
        (_ENCODER + "relative_attention_bias.", _ENCODER + "positions.relative.bias."),
        (_ENCODER + "emb_layer_norm.", _ENCODER + "embedding_layer_norm."),
        (_ENCODER + "emb_out_layer_norm.", _ENCODER + "final_layer_norm."),
        ("", ""),
    )
)
"""(their prefix, our prefix)."""


def is_authors_format(state_dict: Mapping[str, object]) -> bool:
    """True if the keys are those of the authors' checkpoints; RoBERTa's of 2019 look alike."""
    return not is_roberta(state_dict) and any(
        key.startswith(f"decoder.{_ENCODER}") for key in state_dict
    )


def from_authors(state_dict: Mapping[str, T]) -> dict[str, T]:
    """Rename a state dict of the authors to our names."""
    return {_renamed(key, KEY_TABLE): value for key, value in state_dict.items()}


def to_authors(state_dict: Mapping[str, T]) -> dict[str, T]:
    """Rename a state dict of ours to the authors' names."""
    reverse = tuple((ours, theirs) for theirs, ours in KEY_TABLE)
    return {_renamed(key, reverse): value for key, value in state_dict.items()}


def _renamed(key: str, table: tuple[tuple[str, str], ...]) -> str:
    for old, new in table:
        if key.startswith(old):
            return new + key[len(old) :]
    return key
