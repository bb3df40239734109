"""Read a checkpoint of a tupe model: its parameters, in our names, and its configuration."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.encoder import TupeEncoder
from ..core.position_scheme import PositionScheme, position_scheme
from .errors import UnusableCheckpointError, in_one_line
from .read import read_checkpoint

ENCODER = "encoder.sentence_encoder."
"""Before the names of the core encoder's parameters."""
HEADS = "classification_heads."
SIZES = ("encoder_layers", "encoder_embed_dim", "encoder_attention_heads", "max_positions")
LARGEST = 1_000_000
"""Of these, and more than any model has."""


@dataclass(frozen=True)
class TupeCheckpoint:
    """What there is in a checkpoint of `fairseq-train` or of the TUPE authors."""

    path: Path
    weights: dict[str, Tensor]
    config: dict[str, dict[str, Any]]
    """fairseq's configuration, at least of `model`."""

    @property
    def model(self) -> dict[str, Any]:
        return self.config["model"]

    @property
    def encoder(self) -> dict[str, Tensor]:
        """State dict of the core encoder."""
        return {
            key.removeprefix(ENCODER): value
            for key, value in self.weights.items()
            if key.startswith(ENCODER)
        }


def read_tupe_checkpoint(path: Path) -> TupeCheckpoint:
    """Read safely; neither fairseq's registries nor a dictionary are needed.

    Raises:
        CheckpointError: there is no such file, it is damaged, it could run code, or it is of
            another model.
    """
    from ..models import _tupe_2021

    state = read_checkpoint(path)
    weights = dict(state["model"])
    if _tupe_2021.is_authors_format(weights):
        checkpoint = TupeCheckpoint(
            path, _tupe_2021.from_authors(weights), {"model": _settings(state, "model")}
        )
    else:
        parts = ("model", "task", "criterion")
        checkpoint = TupeCheckpoint(path, weights, {part: _settings(state, part) for part in parts})
        if "position_scheme" not in checkpoint.model:
            raise UnusableCheckpointError(f"{path}: not a checkpoint of a tupe model")
    _check(checkpoint)
    return checkpoint


def _settings(state: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Of the model, the task or the criterion; `args` has those of all, in one namespace."""
    args, cfg = state.get("args"), state.get("cfg")
    settings = args if args is not None else (cfg or {}).get(part) or {}
    return dict(vars(settings)) if isinstance(settings, Namespace) else dict(settings)


def _check(checkpoint: TupeCheckpoint) -> None:
    """Compare what the settings say with the weights that are there, without making a model."""
    settings, encoder, path = checkpoint.model, checkpoint.encoder, checkpoint.path
    for name in SIZES:
        value = settings.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST:
            raise UnusableCheckpointError(
                f"{path}: {name} should be from 1 to {LARGEST:,}, and is {value!r}"
            )
    layers = len({key.split(".")[1] for key in encoder if key.startswith("layers.")})
    if layers != settings["encoder_layers"]:
        raise UnusableCheckpointError(
            f"{path}: its settings say {settings['encoder_layers']} layers, and there are weights "
            f"of {layers}"
        )
    for name, shape in _shapes(checkpoint).items():
        if name not in encoder:
            raise UnusableCheckpointError(f"{path} lacks {ENCODER}{name}")
        if encoder[name].shape != shape:
            raise UnusableCheckpointError(
                f"{path}: {ENCODER}{name} is {tuple(encoder[name].shape)}, and by its settings "
                f"{tuple(shape)}"
            )


def _shapes(checkpoint: TupeCheckpoint) -> dict[str, torch.Size]:
    """Of the encoder's state, by the settings."""
    settings, encoder, path = checkpoint.model, checkpoint.encoder, checkpoint.path
    for name in ("embed_tokens.weight", "layers.0.fc1.weight"):
        if name not in encoder or encoder[name].dim() != 2:
            raise UnusableCheckpointError(f"{path} lacks {ENCODER}{name}, or it is no matrix")
    try:
        with torch.device("meta"):
            skeleton = TupeEncoder(
                len(encoder["embed_tokens.weight"]),
                0,
                num_layers=settings["encoder_layers"],
                embed_dim=settings["encoder_embed_dim"],
                ffn_embed_dim=len(encoder["layers.0.fc1.weight"]),
                num_heads=settings["encoder_attention_heads"],
                max_positions=settings["max_positions"],
                scheme=scheme_of(settings),
                num_bins=settings.get("rel_pos_bins", 32),
                max_distance=settings.get("max_rel_pos", 128),
                embedding_normalize=settings.get("embedding_normalize", False),
                normalize_before=settings.get("encoder_normalize_before", False),
            )
    except (ArithmeticError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UnusableCheckpointError(
            f"{path}: its settings are of no model ({in_one_line(error)})"
        ) from error
    return {name: tensor.shape for name, tensor in skeleton.state_dict().items()}


def scheme_of(settings: Mapping[str, Any]) -> PositionScheme:
    """The position scheme that the settings name."""
    name = str(settings.get("position_scheme", "tupe-a"))
    return position_scheme(name, relative=bool(settings.get("rel_pos")))
