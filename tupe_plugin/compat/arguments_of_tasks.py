"""Tasks that look for their options in `args`, where they are in `cfg` since fairseq 0.10.3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Arguments:
    """What a task has in `args` unless it, or one derived from it, puts something else there."""

    def __init__(self, of_task: Callable[[Any], Any]) -> None:
        self._of_task = of_task

    def __get__(self, task: Any, owner: Any = None) -> Any:
        return self if task is None else self._of_task(task)


def let_mbart_find_its_options(translation_from_pretrained_bart: Any) -> None:
    """`'TranslationFromPretrainedBARTTask' object has no attribute 'args'`.

    Where: fairseq/tasks/translation_from_pretrained_bart.py:66 and below.
    When: `--task translation_from_pretrained_bart`, by which mBART is fine-tuned.
    Fix: they are the options of the task.
    Upstream: https://github.com/facebookresearch/fairseq/issues/4479
    """
    task_class = translation_from_pretrained_bart.TranslationFromPretrainedBARTTask
    task_class.args = Arguments(lambda task: task.cfg)
