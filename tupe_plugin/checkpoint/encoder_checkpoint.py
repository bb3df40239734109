"""Read a checkpoint with an encoder of a known family: its parameters and its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.encoder import TupeEncoder
from ..core.encoder_family import UnknownEncoderError
from ..core.encoder_view import EncoderNames, names_of
from ..core.position_scheme import scheme_of
from ..core.shapes_only import shapes_only
from ..core.views.tupe import TUPE
from .buildable import LARGEST
from .errors import UnusableCheckpointError, in_one_line
from .formats import fairseq_roberta, tupe_2021
from .read import read_checkpoint
from .settings import BEFORE_THERE_WERE_OPTIONS, SIZES, settings_of

_LM_HEAD = ".lm_head.weight"


@dataclass(frozen=True)
class EncoderCheckpoint:
    """What there is in a checkpoint of `fairseq-train` or of the TUPE authors."""

    path: Path
    weights: dict[str, Tensor]
    """But for `Family.unused`."""
    config: dict[str, dict[str, Any]]
    """fairseq's configuration, at least of `model`."""
    names: EncoderNames

    @property
    def model(self) -> dict[str, Any]:
        return self.config["model"]

    @property
    def encoder(self) -> dict[str, Tensor]:
        """State dict of the encoder, under its own names."""
        return self.names.own(self.weights)

    @property
    def word_embedding(self) -> str:
        return f"{self.names.prefix}{self.names.family.word_embedding}.weight"

    @property
    def tied(self) -> str | None:
        """The word embedding's second name, as the matrix of the language model's head."""
        for key, value in self.weights.items():
            if key.endswith(_LM_HEAD) and torch.equal(value, self.weights[self.word_embedding]):
                return key
        return None

    @property
    def sizes(self) -> dict[str, Any]:
        """What two models of a family must have in common, to be the same but for their weights."""
        family, settings = self.names.family, self.model
        vocabulary, embed_dim = self.weights[self.word_embedding].shape
        sizes = {
            "encoder_layers": int(settings["encoder_layers"]),
            "encoder_embed_dim": embed_dim,
            "encoder_ffn_embed_dim": _ffn_embed_dim(self),
            "encoder_attention_heads": int(settings["encoder_attention_heads"]),
            "max_positions": int(settings["max_positions"]),
            "position_scheme": scheme_of(settings).name if family is TUPE else None,
            "vocabulary": vocabulary,
        }
        return {name: size for name, size in sizes.items() if size is not None}


def read_encoder_checkpoint(path: Path) -> EncoderCheckpoint:
    """Read safely; neither fairseq's registries nor a dictionary are needed.

    Raises:
        CheckpointError: there is no such file, it is damaged, it could run code, or there is no
            encoder of a known family in it.
    """
    state = read_checkpoint(path)
    weights = dict(state["model"])
    parts = ["model", "task", "criterion"]
    if tupe_2021.is_authors_format(weights):
        weights, parts = tupe_2021.from_authors(weights), ["model"]
    elif fairseq_roberta.is_roberta(weights):
        weights = fairseq_roberta.todays_names(weights)
    return _checked(path, weights, {part: settings_of(state, part) for part in parts})


def check_encoder(weights: dict[str, Tensor], model: dict[str, Any], path: Path) -> None:
    """Hold weights against the settings of their model.

    Raises:
        UnusableCheckpointError: there is no encoder of a known family, or it is of other sizes.
    """
    checkpoint = _checked(path, weights, {"model": model})
    width = _ffn_embed_dim(checkpoint)
    if model["encoder_ffn_embed_dim"] != width:
        raise UnusableCheckpointError(
            f"{path}: intermediate_size is {model['encoder_ffn_embed_dim']}, and its weights are "
            f"of {width}"
        )
    more = checkpoint.encoder.keys() - _shapes(checkpoint).keys()
    if more:
        raise UnusableCheckpointError(
            f"{path} holds {min(more)}, for which a model of its settings has no place"
        )


def _checked(
    path: Path, weights: dict[str, Tensor], config: dict[str, dict[str, Any]]
) -> EncoderCheckpoint:
    try:
        names = names_of(weights, what=str(path))
    except UnknownEncoderError as error:
        raise UnusableCheckpointError(str(error)) from error
    checkpoint = EncoderCheckpoint(path, without_unused(weights), config, names)
    _check_sizes(checkpoint)
    if names.family is TUPE:
        _check_shapes(checkpoint)
    return checkpoint


def without_unused(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the parameters that no training step reads, as `Family.unused` names them.

    They are what they were when training began; fairseq makes them anew when it loads a model.
    Those of a model of no known family are left as they are.
    """
    try:
        names = names_of(weights)
    except UnknownEncoderError:
        return dict(weights)
    family = names.family
    unused = {
        f"{names.prefix}{family.layers}.{layer}.{name}"
        for layer in range(family.num_layers(names.own(weights)))
        for name in family.unused
    }
    return {key: value for key, value in weights.items() if key not in unused}


def chosen_positions(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a tupe model's settings say of positions, as keyword arguments of the encoder.

    Raises:
        ValueError: there is no such position scheme.
    """
    settings = {**BEFORE_THERE_WERE_OPTIONS, **settings}
    return {
        "scheme": scheme_of(settings),
        "num_bins": settings["rel_pos_bins"],
        "max_distance": settings["max_rel_pos"],
        "position_offset": settings["position_offset"],
        "layer_norm": partial(nn.LayerNorm, eps=settings["layer_norm_eps"]),
    }


def _ffn_embed_dim(checkpoint: EncoderCheckpoint) -> int:
    terms = (term for term in checkpoint.names.biases if term.role == "intermediate")
    return len(checkpoint.encoder[next(terms).key])


def _check_sizes(checkpoint: EncoderCheckpoint) -> None:
    """Compare the sizes that the settings name with the weights, as far as these tell them."""
    settings, path = checkpoint.model, checkpoint.path
    for name in SIZES:
        value = settings.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST:
            raise UnusableCheckpointError(
                f"{path}: {name} should be from 1 to {LARGEST:,}, and is {value!r}"
            )
    layers = checkpoint.names.family.num_layers(checkpoint.encoder)
    if layers != settings["encoder_layers"]:
        raise UnusableCheckpointError(
            f"{path}: its settings say {settings['encoder_layers']} layers, and there are weights "
            f"of {layers}"
        )
    embedding = checkpoint.weights[checkpoint.word_embedding]
    if embedding.dim() != 2 or embedding.size(1) != settings["encoder_embed_dim"]:
        raise UnusableCheckpointError(
            f"{path}: {checkpoint.word_embedding} is {tuple(embedding.shape)}, and by its settings "
            f"(..., {settings['encoder_embed_dim']})"
        )


def _check_shapes(checkpoint: EncoderCheckpoint) -> None:
    """Compare what a tupe model's settings say with the weights, without making a model."""
    encoder, path, prefix = checkpoint.encoder, checkpoint.path, checkpoint.names.prefix
    for name, shape in _shapes(checkpoint).items():
        if name not in encoder:
            raise UnusableCheckpointError(f"{path} lacks {prefix}{name}")
        if encoder[name].shape != shape:
            raise UnusableCheckpointError(
                f"{path}: {prefix}{name} is {tuple(encoder[name].shape)}, and by its settings "
                f"{tuple(shape)}"
            )


def _shapes(checkpoint: EncoderCheckpoint) -> dict[str, torch.Size]:
    """Of a tupe encoder's state, by the settings."""
    settings = {**BEFORE_THERE_WERE_OPTIONS, **checkpoint.model}
    try:
        with shapes_only():
            skeleton = TupeEncoder(
                len(checkpoint.weights[checkpoint.word_embedding]),
                0,
                num_layers=settings["encoder_layers"],
                embed_dim=settings["encoder_embed_dim"],
                ffn_embed_dim=_ffn_embed_dim(checkpoint),
                num_heads=settings["encoder_attention_heads"],
                max_positions=settings["max_positions"],
                **chosen_positions(settings),
                num_segments=settings["num_segments"],
                separator_idx=0,
                embedding_normalize=settings["embedding_normalize"],
                normalize_before=settings["encoder_normalize_before"],
            )
    except (ArithmeticError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UnusableCheckpointError(
            f"{checkpoint.path}: no model has its settings ({in_one_line(error)})"
        ) from error
    return {name: tensor.shape for name, tensor in skeleton.state_dict().items()}
