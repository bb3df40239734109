"""What hydra's configuration does not carry from one part of a job to the other."""

from __future__ import annotations

import functools
from typing import Any

from .refused_job import exit_with


def keep_one_limit_of_positions(initialize: Any) -> None:
    """No message: `+model.max_positions=128` is overwritten by the task's default of 512.

    Where: fairseq/tasks/sentence_prediction.py:262, and other tasks with an option of that name.
    When: `fairseq-hydra-train`. `fairseq-train` has one option, which both parts read.
    Fix: a task that is not told its own limit takes the model's. Two different ones are refused.
    """
    original = initialize.add_defaults

    @functools.wraps(original)
    def add_defaults(cfg: Any) -> None:
        from fairseq.tasks import TASK_DATACLASS_REGISTRY

        task, model = cfg.get("task"), cfg.get("model")
        ours, theirs = (getattr(part, "max_positions", None) for part in (model, task))
        if ours is not None and theirs is not None and ours != theirs:
            config = TASK_DATACLASS_REGISTRY.get(task._name)
            if theirs != getattr(config, "max_positions", None):
                exit_with(
                    f"model.max_positions={ours} and task.max_positions={theirs} differ: give one "
                    "of them, and the other part takes it too"
                )
            task.max_positions = ours
        original(cfg)

    initialize.add_defaults = add_defaults
