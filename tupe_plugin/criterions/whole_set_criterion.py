"""A sentence-prediction criterion that logs MCC, F1, Pearson and Spearman of the whole dev set.

Training is fairseq's own to the bit: loss, sample size and logging. In validation the predictions
are logged as well, and `accuracy` is no longer rounded to one decimal before the best checkpoint
is chosen. The registered criteria of this folder extend it: validation is the same with all.
"""

import logging
from typing import Any

import torch
from fairseq.criterions.sentence_prediction import (
    SentencePredictionConfig,
    SentencePredictionCriterion,
)
from fairseq.models import BaseFairseqModel

from ..core.class_labels import POSITIVE_LABELS, labels_of, positive_class
from ..whole_set_metrics import BINARY, METRIC_NAMES, REGRESSION, what_is_scored
from .prediction_table import log_whole_set_metrics, prediction_table

logger = logging.getLogger(__name__)


class WholeSetCriterion(SentencePredictionCriterion):
    """fairseq's sentence-prediction loss; metrics of the whole set in validation."""

    higher_is_better = frozenset(name for names in METRIC_NAMES.values() for name in names)

    def __init__(self, cfg: SentencePredictionConfig, task: Any):
        super().__init__(cfg, task)
        _check_task(cfg, task)
        self._check_num_classes()
        if getattr(self.task.cfg, "init_token", 0) is None:
            logger.warning(
                "no --init-token: sentences have no <s>, and the classification head reads their "
                "first word; give --init-token 0"
            )
        self._positive_class = self._find_positive_class()

    def forward(
        self, model: BaseFairseqModel, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        if self.training:
            return super().forward(model, sample, reduce)
        outputs: list[Any] = []  # fairseq's forward does not return the logits
        recording = model.register_forward_hook(lambda module, args, output: outputs.append(output))
        try:
            loss, sample_size, logging_output = super().forward(model, sample, reduce)
        finally:
            recording.remove()
        logits: torch.Tensor = outputs[0][0]
        targets = model.get_targets(sample, [logits]).view(-1)
        logging_output.pop("ncorrect", None)  # accuracy comes from the predictions
        predictions, targets, kind = what_is_scored(
            logits, targets, regression=self.regression_target, positive=self._positive_class
        )
        logging_output.update(prediction_table(predictions, targets, kind=kind))
        return loss, sample_size, logging_output

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        SentencePredictionCriterion.reduce_metrics(logging_outputs)
        log_whole_set_metrics(logging_outputs)

    def why_not_logged(self, metric: str) -> str | None:
        """What a metric that this job does not log would need; None if no job of ours has it."""
        if metric in METRIC_NAMES[REGRESSION]:
            return f"{metric} is for --regression-target"
        if metric not in METRIC_NAMES[BINARY]:
            return None
        if self.regression_target:
            return f"{metric} is for classes, without --regression-target"
        return (
            f"{metric} is for two classes of which just one is positive, which is seen by its "
            f"label ({', '.join(sorted(POSITIVE_LABELS))})"
        )

    def _check_num_classes(self) -> None:
        """Refuse fewer outputs than labels before training fails on the first rare one.

        A training with more is refused before it begins (`compat/data_on_disk.py`); a model of old
        that has more can be scored.

        Raises:
            ValueError: `--num-classes` is below the number of labels.
        """
        labels = getattr(self.task, "label_dictionary", None)
        if self.regression_target or labels is None:
            return
        texts = labels_of(labels)
        if self.task.cfg.num_classes < len(texts):
            raise ValueError(
                f"--num-classes {self.task.cfg.num_classes}: the data has {len(texts)} labels "
                f"({', '.join(texts[:10])}{', ...' if len(texts) > 10 else ''}); give "
                f"--num-classes {len(texts)}"
            )

    def _find_positive_class(self) -> int | None:
        """Id of the positive class if the task has two labels and just one counts as positive."""
        labels = getattr(self.task, "label_dictionary", None)
        if self.regression_target or labels is None or self.task.cfg.num_classes != 2:
            return None
        texts = labels_of(labels)
        positive = positive_class(texts)
        if positive is None:
            logger.info(
                "labels %s: none is the positive one, so f1 is not logged; macro_f1 is", texts
            )
        return positive


def _check_task(cfg: SentencePredictionConfig, task: Any) -> None:
    """Refuse a task without classes, such as masked_lm.

    Raises:
        ValueError: it is one.
    """
    if not hasattr(task.cfg, "num_classes"):
        raise ValueError(
            f"--criterion {cfg._name} does not go with --task "
            f"{getattr(task.cfg, '_name', type(task).__name__)}: it is for sentence_prediction"
        )
