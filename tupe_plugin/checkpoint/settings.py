"""The settings of one part of a job, from a checkpoint of any age.

cfg[part], named values     a part that declares its options in a dataclass
cfg["model"], a namespace   a model that does not, as fairseq's RoBERTa: the options of all parts
args, a namespace           before fairseq 0.11: the options of all parts
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

SIZES = ("encoder_layers", "encoder_embed_dim", "encoder_attention_heads", "max_positions")
"""Of a model; a task may have an option of such a name too."""

BEFORE_THERE_WERE_OPTIONS: Mapping[str, Any] = {
    "position_offset": 0,
    "num_segments": 0,
    "layer_norm_eps": 1e-5,
    "pooler_input_dropout": 0.0,
    "pooler_activation_fn": "tanh",
    "embedding_normalize": False,
    "encoder_normalize_before": False,
    "rel_pos_bins": 32,
    "max_rel_pos": 128,
}
"""What a tupe model was whose settings lack an option; the options' defaults."""


def settings_of(state: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Of the model, the task, the criterion ...; of all parts where only `args` is there.

    What the namespace of a model holds of other parts is left out: seeds, places on a disk.
    """
    args, cfg = state.get("args"), state.get("cfg") or {}
    if args is not None:
        return _named(args)
    settings = cfg.get(part)
    if not isinstance(settings, Namespace):
        return _named(settings)
    own = {"_name", *SIZES}
    others = {*cfg, *(name for other in cfg if other != part for name in _named(cfg[other]))}
    return {
        name: value for name, value in _named(settings).items() if name in own or name not in others
    }


def entry(settings: Any, key: str) -> Any:
    """Of named values, or of a namespace; None if it is not there."""
    return settings.get(key) if isinstance(settings, Mapping) else getattr(settings, key, None)


def _named(settings: Any) -> dict[str, Any]:
    if isinstance(settings, Namespace):
        return dict(vars(settings))
    return dict(settings) if isinstance(settings, Mapping) else {}
