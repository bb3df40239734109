"""How much of the batches is padding, which costs time, and with many models as much as words."""

from __future__ import annotations

import functools
from typing import Any

SHARE_OF_PADDING = "padding"  # of all tokens of a batch; its name in the log
_TASKS = ("MaskedLMTask", "SentencePredictionTask")
_PADDING, _ALL = "padding_tokens", "tokens_with_padding"


def log_the_share_of_padding(task_module: Any) -> None:
    """No message: `wpb 9216` of a batch of 13,800 tokens, of which a third is padding.

    Where: fairseq/tasks/fairseq_task.py:573 counts tokens without their padding.
    When: a batch has sentences of several lengths.
    Fix: training and validation log `padding`, the share of padding among all tokens, summed over
    `--update-freq` and workers. These two tasks count the tokens that the model reads, so that the
    rest of the batch is padding: two numbers of the CPU, and no GPU is waited for.
    """
    from fairseq import metrics

    (task,) = (getattr(task_module, name) for name in _TASKS if hasattr(task_module, name))

    def counted(step: Any) -> Any:
        @functools.wraps(step)
        def counting(self: Any, sample: Any, *rest: Any, **named: Any) -> Any:
            loss, sample_size, log = step(self, sample, *rest, **named)
            inputs = sample.get("net_input", {})
            if "src_tokens" not in inputs or "ntokens" not in sample:  # a task made of these
                return loss, sample_size, log
            tokens = inputs["src_tokens"].numel()
            counts = {_PADDING: tokens - sample["ntokens"], _ALL: tokens}
            return loss, sample_size, {**log, **counts}

        return counting

    reduce = task.reduce_metrics

    @functools.wraps(reduce)
    def reduce_metrics(self: Any, logging_outputs: Any, criterion: Any) -> None:
        reduce(self, logging_outputs, criterion)
        logs = [log for log in logging_outputs if _ALL in log]
        if logs:
            padding, tokens = (sum(log[key] for log in logs) for key in (_PADDING, _ALL))
            metrics.log_scalar(SHARE_OF_PADDING, padding / tokens, tokens, priority=185, round=3)

    task.train_step, task.valid_step = counted(task.train_step), counted(task.valid_step)
    task.reduce_metrics = reduce_metrics
