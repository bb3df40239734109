"""What `--task sentence_prediction` needs of its data and model, in the words of the options."""

from __future__ import annotations

import functools
import os
from glob import escape, glob
from typing import Any

from .refused_job import RefusedJobError


def name_what_sentence_prediction_lacks(sentence_prediction: Any) -> None:
    """`No such file or directory: 'label/dict.txt'`, `Must set task.num_classes`, `... has no
    attribute 'register_classification_head'`, `index out of range in self`.

    Where: fairseq/tasks/sentence_prediction.py:101, 109, 162 and 266.
    When: STS-B without `--regression-target`, no `--num-classes`, `--arch bert_base`,
    `--init-token -5`; a checkpoint with such a setting.
    Fix: the error says what to give.
    """
    task_class = sentence_prediction.SentencePredictionTask
    setup_task, build_model = task_class.setup_task.__func__, task_class.build_model

    @functools.wraps(setup_task)
    def setup_after_a_look(cls: Any, cfg: Any, **named: Any) -> Any:
        labels = os.path.join(cfg.data, "label")
        numbers = glob(os.path.join(escape(labels), "*.label"))
        classes = os.path.join(labels, "dict.txt")
        if not cfg.regression_target and numbers and not os.path.exists(classes):
            raise RefusedJobError(
                f"{labels} has numbers ({os.path.basename(min(numbers))}) and no dict.txt: give "
                "--regression-target --num-classes 1"
            )
        if cfg.num_classes < 1:
            raise RefusedJobError(
                f"--num-classes {cfg.num_classes}: give the number of labels in {classes}, or 1 "
                "with --regression-target"
            )
        task = setup_task(cls, cfg, **named)
        words = len(task.source_dictionary)
        for option in ("init_token", "separator_token"):
            token = getattr(cfg, option)
            if token is not None and not 0 <= token < words:
                raise RefusedJobError(
                    f"--{option.replace('_', '-')} {token}: give the number of a word of the "
                    f"dictionary, from 0 to {words - 1}"
                )
        return task

    @functools.wraps(build_model)
    def build_model_with_head(self: Any, cfg: Any, *rest: Any, **named: Any) -> Any:
        try:
            return build_model(self, cfg, *rest, **named)
        except AttributeError as error:
            if "register_classification_head" not in str(error):
                raise
            name = getattr(cfg, "arch", None) or getattr(cfg, "_name", None)
            raise RefusedJobError(
                f"--arch {name} has no classification head, which --task sentence_prediction "
                "needs: give the --arch of the pre-training, such as tupe_base"
            ) from None

    task_class.setup_task = classmethod(setup_after_a_look)
    task_class.build_model = build_model_with_head
