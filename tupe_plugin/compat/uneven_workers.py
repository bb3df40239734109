"""The last update of an epoch, where workers have different numbers of batches."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any


def count_every_batch_of_the_last_update(trainer: Any) -> None:
    """No message: at the end of an epoch several workers make another update than one worker.

    Where: fairseq/trainer.py:873. A worker that has no batch left makes one up, and then drops the
    sample size and the logs of all its batches in this update, but not their gradients.
    When: `--update-freq` above 1, and the batches of an epoch do not come out even, such as 7 for
    two workers with `--update-freq 2`: three gradients are divided by the size of two.
    Fix: nothing is made up for a worker that has another batch in this update. What waits for all
    workers in each pass is left as it is: fully sharded data parallel, BASE layers, SyncBatchNorm.
    """
    original = trainer.Trainer.train_step

    @functools.wraps(original)
    def train_step(self: Any, samples: Sequence[Any], *rest: Any, **named: Any) -> Any:
        if not all(samples) and not _waits_in_each_pass(self):
            samples = [sample for sample in samples if sample] or samples
        return original(self, samples, *rest, **named)

    trainer.Trainer.train_step = train_step


def _waits_in_each_pass(trainer: Any) -> bool:
    from fairseq.modules.base_layer import BaseLayer
    from torch.nn import SyncBatchNorm

    waiting = (BaseLayer, SyncBatchNorm)
    return trainer.is_fsdp or any(isinstance(part, waiting) for part in trainer.model.modules())
