"""Sentences that are longer than the model allows: what is left out is said, with what to do."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .refused_job import RefusedJobError

_LIMITS = ("max_positions", "max_source_positions", "max_target_positions")
"""Options of tasks; those of pairs have two."""

logger = logging.getLogger(__name__)


def say_what_to_do_with_long_sentences(fairseq_task: Any) -> None:
    """`Size of sample #7 is invalid ..., skip this example with --skip-invalid-size-inputs-...`

    Where: fairseq/tasks/fairseq_task.py:148. Of a training set it leaves them out, and says how
    many, but not of how many.
    When: a sentence is longer than `--max-positions`; in training also than `--max-tokens`.
    Fix: the message counts both and names the option that cuts them. A set of which nothing is
    left is refused.
    """
    from fairseq.distributed import utils as distributed_utils

    def filter_indices_by_size(
        self: Any,
        indices: Any,
        dataset: Any,
        max_positions: Any = None,
        ignore_invalid_inputs: bool = False,
    ) -> Any:
        kept, ignored = dataset.filter_indices_by_size(indices, max_positions)
        if len(ignored) == 0:
            return kept
        split = next((name for name, loaded in self.datasets.items() if loaded is dataset), "data")
        what = "blocks" if hasattr(_settings(self), "tokens_per_sample") else "sentences"
        told = (
            f"{split}: {len(ignored):,} of {len(indices):,} {what} are longer than "
            f"{max_positions} tokens"
        )
        advice = _advice(self, split, max_positions)
        if len(kept) == 0:
            raise RefusedJobError(f"{told}, none is left: {advice}")
        if not ignore_invalid_inputs:
            raise RefusedJobError(
                f"{told}, such as number {ignored[0]}: {advice}; or skip this example with "
                "--skip-invalid-size-inputs-valid-test, and all like it: metrics are then over "
                f"{len(kept):,} of {len(indices):,}"
            )
        said = vars(self).setdefault("_said_of_long_sentences", set())
        if told not in said and distributed_utils.get_global_rank() == 0:
            logger.warning("%s and are LEFT OUT: %s", told, advice)
        said.add(told)
        return kept

    fairseq_task.FairseqTask.filter_indices_by_size = filter_indices_by_size


def say_over_how_many_sentences_metrics_are(trainer: Any) -> None:
    """No message: `accuracy 68` over 25 sentences of 120, in the log and in `checkpoint_best.pt`.

    Where: fairseq/trainer.py:692: sentences that are left out are logged once, at the first
    validation; batches after `--max-valid-steps` never.
    When: `--skip-invalid-size-inputs-valid-test` with long sentences; `--max-valid-steps`.
    Fix: each validation begins with a warning. Which sentences are scored does not change during a
    job, so the best checkpoint is still chosen: among its own, by the same sentences.
    """
    original = trainer.Trainer.get_valid_iterator

    @functools.wraps(original)
    def get_valid_iterator(self: Any, subset: str, *rest: Any, **named: Any) -> Any:
        iterator = original(self, subset, *rest, **named)
        if not hasattr(iterator, "frozen_batches"):
            return iterator  # a stream, whose length nobody knows
        batches = iterator.frozen_batches
        steps = self.cfg.dataset.max_valid_steps
        if steps is not None:  # fairseq stops one step later
            batches = batches[: (steps + 1) * self.data_parallel_world_size]
        scored, total = sum(map(len, batches)), len(self.task.dataset(subset))
        if scored < total and self.is_data_parallel_master:
            logger.warning(
                "%s: metrics are over %s of %s sentences, and the best checkpoint is chosen by "
                "these; they compare with no other job's",
                *(subset, f"{scored:,}", f"{total:,}"),
            )
        return iterator

    trainer.Trainer.get_valid_iterator = get_valid_iterator


def _settings(task: Any) -> Any:
    """The options of a task; one of the older kind, such as `language_modeling`, has no `cfg`."""
    return task.cfg if task.cfg is not None else getattr(task, "args", None)


def _advice(task: Any, split: str, limit: Any) -> str:
    """The option that makes them fit."""
    cfg = _settings(task)
    own_limit = task.max_positions()
    if isinstance(own_limit, int) and isinstance(limit, int) and limit < own_limit:
        return "raise --max-tokens"
    if hasattr(cfg, "tokens_per_sample"):
        if cfg.sample_break_mode in (None, "none") and isinstance(limit, int):
            return f"give --tokens-per-sample {limit} or less, by which text is cut into blocks"
        return (
            "give --sample-break-mode none, which cuts text into blocks of --tokens-per-sample "
            f"{cfg.tokens_per_sample}, or raise --max-positions, or cut the lines of the text "
            "before it is binarised"
        )
    if getattr(cfg, "shorten_method", "none") != "none":
        return f"add {split} to --shorten-data-split-list {cfg.shorten_data_split_list}"
    if hasattr(cfg, "shorten_method"):
        return "give --shorten-method truncate, which cuts their ends, or raise --max-positions"
    limits = set(_numbers(limit))
    reached = [
        f"--{name.replace('_', '-')}" for name in _LIMITS if getattr(cfg, name, None) in limits
    ]
    if reached:
        return f"raise {' or '.join(reached)}"
    return "raise --max-tokens, or the limit with which the model was trained"


def _numbers(limit: Any) -> Iterator[int]:
    """Of one length, of one for each side, or of these for each pair of languages."""
    if isinstance(limit, (Mapping, Sequence)):
        for part in limit.values() if isinstance(limit, Mapping) else limit:
            yield from _numbers(part)
    else:
        yield limit
