"""The settings of one part of a job, from a checkpoint of any age.

cfg[part], named values     a part that declares its options in a dataclass
cfg["model"], a namespace   a model that does not, as fairseq's RoBERTa: the options of all parts
args, a namespace           before fairseq 0.11: the options of all parts
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

_POSITIONS, _TASK_POSITIONS = "max_positions", "tokens_per_sample"
SIZES = ("encoder_layers", "encoder_embed_dim", "encoder_attention_heads", _POSITIONS)
"""Of a model; a task may have an option of such a name too."""

BEFORE_THERE_WERE_OPTIONS: Mapping[str, Any] = {
    "position_offset": 0,
    "num_segments": 0,
    "layer_norm_eps": 1e-5,
    "activation_dropout": 0.0,
    "pooler_input_dropout": 0.0,
    "pooler_activation_fn": "tanh",
    "embedding_normalize": False,
    "encoder_normalize_before": False,
    "rel_pos_bins": 32,
    "max_rel_pos": 128,
}
"""What a tupe model was whose settings lack an option; the options' defaults."""

TRAINING_ONLY = frozenset(
    {
        *("_name", "load_checkpoint_heads", "bitfit_terms"),
        *("dropout", "attention_dropout", "activation_dropout", "attention_backend", "unpad"),
        *("pooler_dropout", "pooler_input_dropout"),
    }
)
"""Options of a tupe model that change how it is trained, and not what it computes."""


def settings_of(state: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Of the model, the task, the criterion ...; of all parts where only `args` is there.

    What the namespace of a model holds of other parts is left out: seeds, places on a disk. A model
    that says nothing of its `max_positions` has those of its task, as fairseq's RoBERTa.
    """
    args, cfg = state.get("args"), state.get("cfg") or {}
    settings = args if args is not None else cfg.get(part)
    named = _named(settings)
    if args is None and isinstance(settings, Namespace):
        own = {"_name", *SIZES}
        others = {*cfg, *(name for other in cfg if other != part for name in _named(cfg[other]))}
        named = {name: value for name, value in named.items() if name in own or name not in others}
    if part == "model" and named and named.get(_POSITIONS) is None:
        task = entry(args if args is not None else cfg.get("task"), _TASK_POSITIONS)
        named |= {} if task is None else {_POSITIONS: task}
    return named


def entry(settings: Any, key: str) -> Any:
    """Of named values, or of a namespace; None if it is not there."""
    return settings.get(key) if isinstance(settings, Mapping) else getattr(settings, key, None)


def _named(settings: Any) -> dict[str, Any]:
    if isinstance(settings, Namespace):
        return dict(vars(settings))
    return dict(settings) if isinstance(settings, Mapping) else {}
