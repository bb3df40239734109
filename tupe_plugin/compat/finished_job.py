"""A job that has come to its end makes no update when it is started again."""

from __future__ import annotations

import functools
import logging
import math
from typing import Any

from .early_stopping import validations_without_a_better_score

logger = logging.getLogger(__name__)


class _NoEpoch:
    """In the place of an iterator over epochs: fairseq's loop ends before the first."""

    next_epoch_idx = math.nan  # which is not <= any --max-epoch


def make_no_update_after_the_last(checkpoint_utils: Any) -> None:
    """One more update, and other checkpoints, each time that a finished job is started again.

    Where: fairseq_cli/train.py:374 asks whether an update was the last, and never before one.
    When: `--max-update`, `--stop-time-hours` or `--patience` ended the job. With `--max-epoch` no
    update is made, but nothing says why.
    Fix: it is asked when the checkpoint has been loaded, too; the log tells the answer.
    """
    original = checkpoint_utils.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(cfg: Any, trainer: Any, **options: Any) -> Any:
        extra_state, epoch_itr = original(cfg, trainer, **options)
        reason = None
        if extra_state is not None:
            reason = why_finished(trainer, epoch_itr, extra_state)
        if reason is None:
            return extra_state, epoch_itr
        if trainer.is_data_parallel_master:
            logger.info(f"this job is finished: {reason}; nothing is trained or saved")
        return extra_state, _NoEpoch()

    checkpoint_utils.load_checkpoint = load_checkpoint


def why_finished(trainer: Any, epoch_itr: Any, extra_state: dict[str, Any]) -> str | None:
    """Which condition of fairseq's `validate_and_save` a loaded checkpoint meets; None: go on."""
    limits = trainer.cfg.optimization
    updates, epochs = trainer.get_num_updates(), epoch_itr.next_epoch_idx - 1
    # Not the trainer's clock, which has gone on since, by another bit on each worker.
    hours = (extra_state.get("previous_training_time") or 0) / 3600
    if limits.max_update and updates >= limits.max_update:
        return f"it has made {updates} updates, and --max-update is {limits.max_update}"
    if limits.max_epoch and epochs >= limits.max_epoch:
        return f"it has made {epochs} epochs, and --max-epoch is {limits.max_epoch}"
    if hours > limits.stop_time_hours > 0:
        return f"it has trained for {hours:.3g} hours; --stop-time-hours {limits.stop_time_hours:g}"
    runs, patience = validations_without_a_better_score(), trainer.cfg.checkpoint.patience
    if runs >= patience > 0:
        return f"no better score in {runs} validations, and --patience is {patience}"
    return None
