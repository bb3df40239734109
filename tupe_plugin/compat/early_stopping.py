"""`--patience` counts validations over the whole job, however often it was killed."""

from __future__ import annotations

import functools
from typing import Any

from .training_program import training_program

PATIENCE = "patience"  # entry of a checkpoint's extra_state


def keep_counting_patience(trainer: Any) -> None:
    """A job with `--patience` that is started again trains longer than one that was not killed.

    Where: fairseq_cli/train.py:211 keeps its best score and the validations since then in
    attributes of a function.
    When: `--patience`, and the job is resumed; if it had been stopped, it trains another epoch.
    Fix: a checkpoint holds both; `finished_job.py` asks whether patience has run out. The program
    is looked up when a checkpoint is written or read: it may be half imported when this runs.
    """
    kind = trainer.Trainer
    state_dict, load_checkpoint = kind.state_dict, kind.load_checkpoint

    @functools.wraps(state_dict)
    def state_with_patience(self: Any) -> dict[str, Any]:
        state = state_dict(self)
        program = training_program()
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
        program = training_program()
        if program is not None and extra_state and not reset_optimizer and not reset_meters:
            vars(program.should_stop_early).update(extra_state.get(PATIENCE, {}))
        return extra_state

    kind.state_dict, kind.load_checkpoint = state_with_patience, load_patience


def validations_without_a_better_score() -> int:
    """As many as fairseq has counted; 0 if it has not begun to count."""
    program = training_program()
    return 0 if program is None else _counted(program).get("num_runs", 0)


def _counted(program: Any) -> dict[str, Any]:
    """Best score, and validations since then."""
    counted = vars(program.should_stop_early)
    return {name: counted[name] for name in ("best", "num_runs") if name in counted}
