"""Checks of a job's plan: does an epoch make an update, is there a validation, by which metric?

A check takes the trainer and the iterator of its first epoch, raises where the job cannot end well,
and returns a warning or None.
"""

from __future__ import annotations

import math
from typing import Any

from .metric_direction import Metric
from .padding_share import SHARE_OF_PADDING
from .refused_job import RefusedJobError

# What is logged of a validation's speed and batches.
NO_METRICS = frozenset({"wps", "wpb", "bsz", SHARE_OF_PADDING})
MOST_NAMES = 12  # of metrics in a message: bitfit has one for each bias


def check_every_epoch_makes_an_update(trainer: Any, epoch_itr: Any) -> str | None:
    """`UnboundLocalError: ... 'valid_losses'` after an epoch without an update.

    Raises:
        RefusedJobError: `--update-freq` is more than the batches that are left.
    """
    if not hasattr(epoch_itr, "frozen_batches"):
        return None  # a stream, whose length nobody knows
    for update_freq in trainer.cfg.optimization.update_freq:
        if _updates(trainer, epoch_itr, update_freq) == 0:
            raise RefusedJobError(
                f"--update-freq {update_freq} with --skip-remainder-batch: an epoch has "
                f"{len(epoch_itr)} batches, the last is dropped, and the rest are fewer than one "
                "update takes: lower --update-freq or leave --skip-remainder-batch out"
            )
    return None


def check_valid_sets(trainer: Any, epoch_itr: Any) -> str | None:
    """Sentences that are too long, at the first validation. See `sentence_length.py`."""
    if not trainer.cfg.dataset.disable_validation:
        for subset in trainer.cfg.dataset.valid_subset.split(","):
            trainer.get_valid_iterator(subset)  # fairseq keeps it for the validations to come
    return None


def check_validation_happens(trainer: Any, epoch_itr: Any) -> str | None:
    """No message: `--patience` without effect, and no `checkpoint_best.pt`.

    Raises:
        RefusedJobError: no validation will be, and an option that needs one is given.
    """
    cfg = trainer.cfg
    if _validates(trainer, epoch_itr):
        return None
    if cfg.dataset.disable_validation:
        why = "--disable-validation"
    else:
        why = (
            f"training ends before --validate-interval {cfg.dataset.validate_interval} and "
            f"--validate-after-updates {cfg.dataset.validate_after_updates}"
        )
    wanted = {
        f"--patience {cfg.checkpoint.patience}": cfg.checkpoint.patience > 0,
        f"--keep-best-checkpoints {cfg.checkpoint.keep_best_checkpoints}": (
            cfg.checkpoint.keep_best_checkpoints > 0
        ),
        f"--best-checkpoint-metric {cfg.checkpoint.best_checkpoint_metric}": (
            cfg.checkpoint.best_checkpoint_metric != "loss"
        ),
    }
    for option, is_given in wanted.items():
        if is_given:
            raise RefusedJobError(f"{option} needs a validation, and there is none: {why}")
    if cfg.dataset.disable_validation:
        return None
    return f"there is no validation, and so no checkpoint_best.pt: {why}"


def check_metric_exists(trainer: Any, epoch_itr: Any) -> str | None:
    """`KeyError: 'f1'` after the first epoch, whose checkpoint is not saved.

    What a criterion logs is known once it has: it is shown the first batch of the first dev set.

    Raises:
        RefusedJobError: there is no such metric.
    """
    cfg = trainer.cfg
    metric = cfg.checkpoint.best_checkpoint_metric
    if metric == "loss" or cfg.dataset.disable_validation or hasattr(trainer.task, "post_validate"):
        return None
    batch = trainer.get_valid_iterator(cfg.dataset.valid_subset.split(",")[0]).first_batch
    if batch == "DUMMY":  # fairseq's word for a set that cannot be looked at
        return None
    sample, _ = trainer._prepare_sample(batch)
    logged = logged_in_validation(
        trainer.task, sample, trainer.model, trainer.criterion, trainer.get_criterion()
    )
    if metric in logged:
        return None
    why_not = getattr(trainer.get_criterion(), "why_not_logged", None)
    reason = why_not(metric) if why_not is not None else None
    raise RefusedJobError(
        f"--best-checkpoint-metric {metric}: validation has no such metric, it has "
        f"{', '.join(logged[:MOST_NAMES])}{'; ' + reason if reason else ''}"
    )


def check_metric_direction(trainer: Any, epoch_itr: Any) -> str | None:
    """No message: the worst checkpoint is kept, and `--patience` stops while the model improves.

    Raises:
        RefusedJobError: `--maximize-best-checkpoint-metric` is forgotten, or one too many.
    """
    metric = trainer.cfg.checkpoint.best_checkpoint_metric
    maximize = trainer.cfg.checkpoint.maximize_best_checkpoint_metric
    if maximize and not Metric.called(metric).more_is_better:
        raise RefusedJobError(
            f"--best-checkpoint-metric {metric}: less is better, so leave out "
            "--maximize-best-checkpoint-metric, which would keep the worst checkpoint"
        )
    if metric in getattr(trainer.get_criterion(), "higher_is_better", ()) and not maximize:
        raise RefusedJobError(
            f"--best-checkpoint-metric {metric}: more is better, so give "
            "--maximize-best-checkpoint-metric, or the worst checkpoint is kept"
        )
    return None


def logged_in_validation(
    task: Any, sample: Any, model: Any, criterion: Any, unwrapped_criterion: Any
) -> list[str]:
    """The names of the metrics that one batch of a dev set yields."""
    import torch
    from fairseq import metrics

    # Not Trainer.valid_step, whose meters go into the checkpoints. No metric is computed here: of
    # one batch most are undefined, and would be warned of.
    with torch.no_grad(), metrics.aggregate(new_root=True) as meters:
        model.eval()
        criterion.eval()
        _, _, logging_output = task.valid_step(sample, model, criterion)
        task.reduce_metrics([logging_output], unwrapped_criterion)
        return [name for name in meters if name not in NO_METRICS and not name.startswith("_")]


def _updates(trainer: Any, epoch_itr: Any, update_freq: int) -> int:
    """Of one epoch."""
    if trainer.cfg.optimization.skip_remainder_batch:
        return (len(epoch_itr) - 1) // update_freq
    return math.ceil(len(epoch_itr) / update_freq)


def _validates(trainer: Any, epoch_itr: Any) -> bool:
    """Whether `fairseq_cli.train.validate_and_save` ever will, in a job from its beginning on."""
    dataset, optimization = trainer.cfg.dataset, trainer.cfg.optimization
    if dataset.disable_validation:
        return False
    if not hasattr(epoch_itr, "frozen_batches") or trainer.task.has_sharded_data("train"):
        return True  # as far as is known: other epochs have other lengths
    frequencies = list(optimization.update_freq)
    max_epoch = optimization.max_epoch or math.inf

    def updates_until(epoch: float) -> float:
        of_each = [_updates(trainer, epoch_itr, frequency) for frequency in frequencies]
        own = of_each[: int(min(epoch, len(of_each)))]
        return sum(own) + max(epoch - len(of_each), 0) * of_each[-1]

    after = dataset.validate_after_updates
    max_update = optimization.max_update or math.inf
    last = min(max_update, updates_until(max_epoch))
    if last == math.inf:
        return True
    if last < after:
        return False
    if last == max_update:  # it validates when it stops
        return True
    for interval in (
        dataset.validate_interval_updates,
        trainer.cfg.checkpoint.save_interval_updates,
    ):
        if interval > 0 and last // interval * interval >= max(after, 1):
            return True
    last_of_interval = max_epoch // dataset.validate_interval * dataset.validate_interval
    return last_of_interval > 0 and updates_until(last_of_interval) >= after
