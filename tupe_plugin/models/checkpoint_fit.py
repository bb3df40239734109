"""What a checkpoint needs to be loaded into a TUPE model: names, sizes, classification heads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from ..checkpoint.formats import fairseq_roberta, tupe_2021
from ..checkpoint.formats.our_names import CARRIED, HEADS, LM_HEAD, POOLER
from ..core.encoder_view import names_of
from ..core.heads import ClassificationHead
from ..core.position_scheme import scheme_of

logger = logging.getLogger(__name__)

_MORE_POSITIONS = (
    "give --max-positions (in hydra: +model.max_positions) the value of the pre-training"
)
_SIZED_BY_AN_OPTION = (
    (
        "embed_tokens.weight",
        "symbols",
        "train with the dictionary of the pre-training (a checkpoint of the TUPE authors needs "
        "<file>, <email> and <url> as the first three lines of dict.txt)",
    ),
    ("positions.absolute.projection.embedding.weight", "positions", _MORE_POSITIONS),
    ("positions.projection.embedding.weight", "positions", _MORE_POSITIONS),
    (
        "positions.learned.weight",
        "positions",
        f"{_MORE_POSITIONS}; so with --position-offset, if it had one",
    ),
    (
        "segment_embeddings.weight",
        "token types",
        "give --num-segments (in hydra: +model.num_segments) the value of the pre-training",
    ),
    (
        "positions.relative.bias.weight",
        "relative position entries",
        "give --rel-pos-bins (in hydra: +model.rel_pos_bins) the value of the pre-training",
    ),
)
"""(parameter of the encoder, what its rows are, what to do if their number differs)."""


def rename_in_place(state_dict: dict[str, Tensor]) -> None:
    """Give a checkpoint of the TUPE authors, or of fairseq's RoBERTa, our names."""
    if tupe_2021.is_authors_format(state_dict):
        renamed = tupe_2021.from_authors(state_dict)
    elif fairseq_roberta.is_roberta(state_dict):
        renamed = fairseq_roberta.to_ours(state_dict, "the checkpoint")
    else:
        return
    state_dict.clear()
    state_dict.update(renamed)


def check_sizes(state_dict: dict[str, Tensor], *, own: dict[str, Tensor]) -> None:
    """Compare the embeddings of a checkpoint with the model's.

    Raises:
        ValueError: one has another size; the message names the option that sets it.
    """
    prefix = names_of(own).prefix
    for name, what, advice in _SIZED_BY_AN_OPTION:
        key = prefix + name
        if key in state_dict and key in own and len(state_dict[key]) != len(own[key]):
            extra = 1 if key.endswith("projection.embedding.weight") else 0  # a row of [CLS]'s
            raise ValueError(
                f"the checkpoint has {len(state_dict[key]) - extra} {what}, "
                f"the model {len(own[key]) - extra}: {advice}"
            )


def why_not_fit(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """What makes a checkpoint that of another kind of model, given the settings of both."""
    if "position_scheme" not in theirs:
        return None  # the authors', who had one
    wanted, here = (scheme_of(settings) for settings in (theirs, ours))
    if wanted == here:
        return None
    without = " without --rel-pos" if ours.get("rel_pos") and not wanted.has_relative else ""
    return (
        f"it was written with position scheme {wanted.name}, here {here.name}: give "
        f"--position-scheme {wanted.name}{without}"
    )


def head_sizes(state_dict: dict[str, Tensor]) -> dict[str, tuple[int, int]]:
    """Classes and inner width of each classification head in a checkpoint."""
    names = sorted({key.split(".")[1] for key in state_dict if key.startswith(HEADS)})
    return {
        name: (
            len(state_dict[f"{HEADS}{name}.out_proj.weight"]),
            len(state_dict[f"{HEADS}{name}.dense.weight"]),
        )
        for name in names
    }


def fit_lm_head(state_dict: dict[str, Tensor], *, own: dict[str, Tensor]) -> None:
    """Fill in the masked-LM head where a checkpoint has none of it, as that of a bare encoder."""
    word_embedding = f"{names_of(own).prefix}embed_tokens.weight"
    if word_embedding not in state_dict or any(key.startswith(LM_HEAD) for key in state_dict):
        return
    logger.info("%s* is not in the checkpoint: starting fresh", LM_HEAD)
    head = {key: value for key, value in own.items() if key.startswith(LM_HEAD)}
    state_dict.update(head | {f"{LM_HEAD}weight": state_dict[word_embedding]})


def fit_heads(state_dict: dict[str, Tensor], *, own: nn.ModuleDict) -> None:
    """Drop heads that the model lacks or has in another size; fill in those that only it has.

    The dense layer of a new one is the checkpoint's pooler, where it was pre-trained: BERT's.
    """
    pooler = {
        key.removeprefix(POOLER): state_dict.pop(key)
        for key in list(state_dict)
        if key.startswith((POOLER, CARRIED))
    }
    for name, sizes in head_sizes(state_dict).items():
        head = cast("ClassificationHead", own[name]) if name in own else None
        if head is None or sizes != (head.out_proj.out_features, head.dense.out_features):
            logger.warning(
                "leaving out classification head %r of the checkpoint (%d outputs): "
                "the model has %s",
                name,
                sizes[0],
                "no such head" if head is None else f"{head.out_proj.out_features} outputs",
            )
            for key in [key for key in state_dict if key.startswith(f"{HEADS}{name}.")]:
                del state_dict[key]
    for key, value in own.state_dict().items():
        if HEADS + key not in state_dict:
            trained = pooler.get(key.partition(".")[2])
            fits = trained is not None and trained.shape == value.shape
            start = "starting from the pooler" if fits else "starting fresh"
            logger.info("%s%s is not in the checkpoint: %s", HEADS, key, start)
            state_dict[HEADS + key] = cast("Tensor", trained) if fits else value
