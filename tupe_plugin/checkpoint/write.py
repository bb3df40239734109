"""A new checkpoint: whole or not at all, and readable by the rules by which it will be read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.whole_file import whole_file
from .read import check_readable


def at_the_beginning(
    weights: dict[str, Tensor],
    *,
    cfg: Any,
    args: Any = None,
    last_start: Mapping[str, Any] | None = None,
    task_state: Any = None,
    **extra_state: Any,
) -> dict[str, Any]:
    """What fairseq asks of a checkpoint, with weights that no update of this run has changed.

    Args:
        weights: of the model.
        cfg: fairseq's configuration; `args`: that of before fairseq 0.11.
        last_start: what the `optimizer_history` of another checkpoint ends with: its names stay.
        task_state: as in another checkpoint.
        extra_state: more entries of that name.
    """
    names = {"criterion_name": "none", "optimizer_name": "none", **(last_start or {})}
    return {
        "args": args,
        "cfg": cfg,
        "model": weights,
        "criterion": None,
        "optimizer_history": [{**names, "lr_scheduler_state": {}, "num_updates": 0}],
        "task_state": task_state or {},
        "extra_state": {
            "train_iterator": {
                "version": 2,
                "epoch": 1,
                "iterations_in_epoch": 0,
                "shuffle": True,
            },
            **extra_state,
        },
    }


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` in the place of what may be there.

    Raises:
        CheckpointError: it could not be read again; the old file is kept.
        OSError: the file cannot be written; the old one is kept.
    """
    with whole_file(path) as unfinished:
        torch.save(state, unfinished)
        check_readable(unfinished)
