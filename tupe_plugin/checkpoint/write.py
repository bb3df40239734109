"""A new checkpoint: whole or not at all, and readable by the rules by which it will be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .read import read_checkpoint
from .whole_file import whole_file


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` in the place of what may be there.

    Raises:
        CheckpointError: it could not be read again; the old file is kept.
        OSError: the file cannot be written; the old one is kept.
    """
    with whole_file(path) as unfinished:
        torch.save(state, unfinished)
        read_checkpoint(unfinished)
