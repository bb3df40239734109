"""A checkpoint in the form of fairseq-train, of any weights and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def write_checkpoint(path: Path, model: Any, **parts: Any) -> Path:
    """After 19 updates; `parts` take the place of those written here."""
    history = {"optimizer_name": "FairseqAdam", "lr_scheduler_state": {"a": 1}, "num_updates": 19}
    state = {
        "args": None,
        "model": model,
        "criterion": None,
        "optimizer_history": [{}, {**history, "criterion_name": "Some"}],
        "task_state": {"some": 1},
        "extra_state": {"train_iterator": {"epoch": 3}, "best": 1.0, "metrics": []},
        "last_optimizer_state": {"state": {0: torch.ones(1000)}},
    }
    cfg = {"model": {}, "task": {}, **parts.pop("cfg", {})}
    torch.save({**state, "cfg": cfg, **parts}, path)
    return path
