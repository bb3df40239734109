"""What a checkpoint needs to be loaded into a TUPE model: names, sizes, classification heads."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any, cast

from torch import Tensor, nn

from ..checkpoint.formats import fairseq_roberta, tupe_2021
from ..checkpoint.formats.our_names import CARRIED, HEADS, LM_HEAD, POOLER
from ..checkpoint.settings import BEFORE_THERE_WERE_OPTIONS, TRAINING_ONLY
from ..core.bounds import flag
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
        f"{_MORE_POSITIONS}; likewise --position-offset, if it had one",
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
_TOLD_BY_SIZES = {
    *("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "max_positions"),
    *("position_scheme", "rel_pos"),  # compared together
}
_OF_ALL_FAMILIES = {
    *("encoder_attention_heads", "activation_fn", "pooler_activation_fn", "layer_norm_eps"),
    *("rel_pos_bins", "max_rel_pos"),
}
"""Options that mean the same in a checkpoint of the TUPE authors and in fairseq's RoBERTa."""


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


def why_not_fit(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], *, with_head: bool
) -> str | None:
    """What makes a checkpoint that of another kind of model, given the settings of both.

    Sizes of parameters are left to whoever loads them.

    Args:
        theirs, ours: settings of the model in the checkpoint and of the one that it is for.
        with_head: a classification head of the checkpoint is taken over.
    """
    here = scheme_of(ours)
    wanted = scheme_of(theirs) if "position_scheme" in theirs else here
    if wanted != here:
        without = " without --rel-pos" if ours.get("rel_pos") and not wanted.has_relative else ""
        return (
            f"it was written with position scheme {wanted.name}, here {here.name}: give "
            f"--position-scheme {wanted.name}{without}"
        )
    names = set(ours) - TRAINING_ONLY - _TOLD_BY_SIZES
    if "position_scheme" not in theirs:  # the authors', or fairseq's RoBERTa: their eps has no name
        names &= _OF_ALL_FAMILIES & {*theirs, "layer_norm_eps"}
    if not here.has_relative:
        names -= {"rel_pos_bins", "max_rel_pos"}
    if not here.has_learned:
        names.discard("position_offset")
    if not with_head:
        names.discard("pooler_activation_fn")
    return different_settings({**BEFORE_THERE_WERE_OPTIONS, **theirs}, ours, names)


def different_settings(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], names: Collection[str]
) -> str | None:
    """What to give instead of those `names` that differ; those without a value are left out."""
    found, advice = [], []
    for name in ours:
        value, here = theirs.get(name), ours[name]
        if name not in names or value is None or here is None or str(value) == str(here):
            continue
        if isinstance(here, bool):
            found.append(f"with{'' if value else 'out'} {flag(name)}")
            advice.append(f"give {flag(name)}" if value else f"leave {flag(name)} out")
        else:
            found.append(f"with {flag(name)} {value} (here {here})")
            advice.append(f"give {flag(name)} {value}")
    return f"it was written {', '.join(found)}: {', '.join(advice)}" if found else None


def head_sizes(state_dict: Mapping[str, Tensor]) -> dict[str, tuple[int, int] | None]:
    """Classes and inner width of each classification head in a checkpoint; None: another kind."""
    names = sorted({key.split(".")[1] for key in state_dict if key.startswith(HEADS)})
    layers = {
        name: [state_dict.get(f"{HEADS}{name}.{layer}.weight") for layer in ("out_proj", "dense")]
        for name in names
    }
    return {
        name: None if out_proj is None or dense is None else (len(out_proj), len(dense))
        for name, (out_proj, dense) in layers.items()
    }


def takes_over_a_head(
    state_dict: Mapping[str, Tensor], *, own: nn.ModuleDict, new_ones: bool
) -> bool:
    """Whether the model has one of the checkpoint's heads in its size, or takes `new_ones`."""
    return any(
        sizes == _sizes_of(own[name]) if name in own else new_ones and sizes is not None
        for name, sizes in head_sizes(state_dict).items()
    )


def _sizes_of(head: nn.Module) -> tuple[int, int]:
    known = cast("ClassificationHead", head)
    return known.out_proj.out_features, known.dense.out_features


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
        here = _sizes_of(own[name]) if name in own else None
        if here is None or sizes != here:
            logger.warning(
                "leaving out classification head %r of the checkpoint (%s): the model has %s",
                name,
                "not of two layers" if sizes is None else f"{sizes[0]} outputs",
                "no such head" if here is None else f"{here[0]} outputs",
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
