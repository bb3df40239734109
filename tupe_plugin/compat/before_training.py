"""What can be known before the first update is said before the first update, in one line.

fairseq finds a misspelt metric after an epoch, a sentence that is too long at the first validation,
a missing label at the first batch that has it. Two tables hold the checks: one is for the files of
the data, before they are loaded, one for the job when everything is built. A check raises, or
returns a warning or None; `docs/decisions/before-the-first-update.md` says what belongs here. Every
worker makes the same checks on the same data, so that all of them stop, or none.
"""

from __future__ import annotations

import functools
import inspect
import logging
from typing import Any

from . import damaged_data, data_on_disk, validation_plan

logger = logging.getLogger(__name__)

CHECKS_OF_FILES = (
    data_on_disk.check_splits_exist,
    damaged_data.check_files_are_whole,
    data_on_disk.check_splits_hold_something,
    data_on_disk.check_pairs,
    data_on_disk.check_class_labels,
    data_on_disk.check_regression_labels,
)
CHECKS_OF_JOBS = (
    validation_plan.check_every_epoch_makes_an_update,
    validation_plan.check_metric_direction,
    validation_plan.check_valid_sets,
    validation_plan.check_metric_exists,
    validation_plan.check_validation_happens,
)


def check_the_files_of_the_data(data_utils: Any) -> None:
    """Errors of the data that come late, or in words that do not name the file.

    Where: fairseq_cli/train.py:129 asks `data_utils` about the dev sets just before it loads data.
    When: each check of the table has it in its docstring.
    Fix: `CHECKS_OF_FILES`, for the tasks whose files are known (`data_on_disk.INPUT_FOLDER`).
    """
    original = data_utils.raise_if_valid_subsets_unintentionally_ignored

    @functools.wraps(original)
    def raise_if_valid_subsets_unintentionally_ignored(train_cfg: Any) -> None:
        original(train_cfg)
        for check in CHECKS_OF_FILES:
            check(train_cfg)

    data_utils.raise_if_valid_subsets_unintentionally_ignored = (
        raise_if_valid_subsets_unintentionally_ignored
    )


def check_the_job_before_its_first_update(checkpoint_utils: Any) -> None:
    """Errors of the options that come after an epoch, or never.

    Where: fairseq_cli/train.py:163: when the checkpoint is loaded, everything is built.
    When: each check of the table has it in its docstring.
    Fix: `CHECKS_OF_JOBS`.
    """
    original = checkpoint_utils.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(cfg: Any, trainer: Any, **options: Any) -> Any:
        extra_state, epoch_itr = original(cfg, trainer, **options)
        for check in CHECKS_OF_JOBS:
            warning = check(trainer, epoch_itr)
            if warning is not None and trainer.is_data_parallel_master:
                logger.warning(warning)
        return extra_state, epoch_itr

    checkpoint_utils.load_checkpoint = load_checkpoint


def leave_other_trainers_alone(checkpoint_utils: Any) -> None:
    """`AttributeError: ...` from this package, where a program has a trainer of its own.

    Where: whoever calls `checkpoint_utils.load_checkpoint`.
    When: its trainer has no configuration of fairseq's kind, and so no job that could be compared
    or checked.
    Fix: it gets fairseq's function.
    """
    ours = checkpoint_utils.load_checkpoint
    original = inspect.unwrap(ours)

    @functools.wraps(ours)
    def load_checkpoint(cfg: Any, trainer: Any, **options: Any) -> Any:
        from omegaconf import OmegaConf

        is_of_fairseq = OmegaConf.is_config(getattr(trainer, "cfg", None))
        return (ours if is_of_fairseq else original)(cfg, trainer, **options)

    checkpoint_utils.load_checkpoint = load_checkpoint
