"""`--patience` counts validations over the whole job, however often it was killed."""

from __future__ import annotations

import functools
import logging
import sys
from typing import Any

logger = logging.getLogger(__name__)

PATIENCE = "patience"  # entry of a checkpoint's extra_state


def keep_counting_patience(trainer: Any) -> None:
    """A job with `--patience` that is started again trains longer than one that was not killed.

    Where: fairseq_cli/train.py:211 keeps its best score and the validations since then in
    attributes of a function.
    When: `--patience`, and the job is resumed; if it had been stopped, it trains another epoch.
    Cure: a checkpoint holds both; what has run out of patience stays stopped. The program is
    reached through the trainer: it may be half imported when this runs.
    """
    kind = trainer.Trainer
    state_dict, load_checkpoint = kind.state_dict, kind.load_checkpoint

    @functools.wraps(state_dict)
    def state_with_patience(self: Any) -> dict[str, Any]:
        state = state_dict(self)
        program = sys.modules.get("fairseq_cli.train")
        if program is not None and hasattr(program.should_stop_early, "best"):
            state["extra_state"][PATIENCE] = _counted(program)
        return state

    @functools.wraps(load_checkpoint)
    def load_patience(
        self: Any,
        filename: str,
        reset_optimizer: bool = False,
        reset_lr_scheduler: bool = False,
        optimizer_overrides: Any = None,
        reset_meters: bool = False,
    ) -> Any:
        extra_state = load_checkpoint(
            self, filename, reset_optimizer, reset_lr_scheduler, optimizer_overrides, reset_meters
        )
        program = sys.modules.get("fairseq_cli.train")
        if program is not None and extra_state and not reset_optimizer and not reset_meters:
            vars(program.should_stop_early).update(extra_state.get(PATIENCE, {}))
            _stay_stopped(program)
        return extra_state

    kind.state_dict, kind.load_checkpoint = state_with_patience, load_patience


def _counted(program: Any) -> dict[str, Any]:
    """Best score, and validations since then."""
    counted = vars(program.should_stop_early)
    return {name: counted[name] for name in ("best", "num_runs") if name in counted}


def _stay_stopped(program: Any) -> None:
    """Have the program train no epoch when the count says that it stopped."""
    train = program.train
    if getattr(train, "asks_for_patience", False):
        return

    @functools.wraps(train)
    def train_unless_stopped(cfg: Any, *rest: Any) -> Any:
        runs = _counted(program).get("num_runs", 0)
        if 0 < cfg.checkpoint.patience <= runs:
            logger.info(f"stopped already: no better score in {runs} validations")
            return [None], True
        return train(cfg, *rest)

    train_unless_stopped.asks_for_patience = True  # type: ignore[attr-defined]
    program.train = train_unless_stopped
