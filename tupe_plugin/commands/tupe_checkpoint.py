"""Read a checkpoint of a tupe model: its parameters, in our names, and its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

ENCODER = "encoder.sentence_encoder."
"""Before the names of the core encoder's parameters."""
HEADS = "classification_heads."


class UnusableCheckpointError(ValueError):
    """A file that holds no tupe model; the message names it and says why."""


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


def read_checkpoint(path: Path) -> TupeCheckpoint:
    """Read safely; no dictionary is needed.

    Raises:
        UnusableCheckpointError: there is no such file, it is damaged, it could run code, or it is
            of another model.
    """
    import fairseq  # noqa: F401  -- its arrival makes tupe_plugin register and mend it
    from fairseq.checkpoint_utils import load_checkpoint_to_cpu

    from ..compat.checkpoint_errors import DamagedCheckpointError
    from ..compat.checkpoint_loading import UnsafeCheckpointError
    from ..models import _tupe_2021

    if not path.is_file():
        raise UnusableCheckpointError(f"no such file: {path}")
    try:
        state = load_checkpoint_to_cpu(str(path))
    except (DamagedCheckpointError, UnsafeCheckpointError) as error:
        raise UnusableCheckpointError(str(error)) from error
    weights, config = state["model"], {"model": _plain(state["cfg"]["model"])}
    if _tupe_2021.is_authors_format(weights):
        return TupeCheckpoint(path, _tupe_2021.from_authors(weights), config)
    if "position_scheme" not in config["model"]:
        raise UnusableCheckpointError(f"{path}: not a checkpoint of a tupe model")
    for part in ("task", "criterion"):
        config[part] = _plain(state["cfg"].get(part) or {})
    return TupeCheckpoint(path, dict(weights), config)


def _plain(settings: Any) -> dict[str, Any]:
    """Settings as strings, numbers and lists, with fairseq's enumerations by their values."""
    from omegaconf import OmegaConf

    if OmegaConf.is_config(settings):
        settings = OmegaConf.to_container(settings, enum_to_str=True)
    return dict(settings) if isinstance(settings, Mapping) else dict(vars(settings))
