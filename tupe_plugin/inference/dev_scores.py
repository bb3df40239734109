"""Score sets of weights on a dev set, as `fairseq-validate` does: task, criterion, whole set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint.upgraded import read_upgraded
from ..compat.metric_direction import Metric
from ..compat.validation_plan import MOST_NAMES, logged_in_validation
from .model_on_data import DataError, batches, build_model, load_split, set_up_task

SENTENCES = 32
"""In a batch, where the checkpoint does not say, as that of `tupe delta apply`."""


class MissingMetricError(ValueError):
    """The criterion does not compute the metric; the message says which it does."""


class DevSet:
    """A dev set, and a model into which one set of weights after another is loaded.

    Args:
        checkpoint: its configuration says what model, task and criterion are.
        data: the binarised data, as for `fairseq-train`.
        subset: `valid`, `valid1`, ...
        batch_size: sentences; None: what the checkpoint's training validated with.
        cpu: do not use a GPU.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        DataError: model and data do not belong together, or there is no such subset.
    """

    def __init__(
        self,
        checkpoint: Path,
        data: Path,
        *,
        subset: str = "valid",
        batch_size: int | None = None,
        cpu: bool = False,
    ) -> None:
        state = read_upgraded(checkpoint)
        self._cfg = state["cfg"]
        self._task = set_up_task(checkpoint, self._cfg, data)
        self._device = torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")
        self._model = build_model(checkpoint, state, self._task, device=self._device)
        self._criterion = self._task.build_criterion(self._cfg.criterion).eval()
        self._subset, self._dataset = subset, load_split(self._task, subset)
        self._batch_size = batch_size
        self.metric = Metric.of_job(self._cfg.checkpoint)
        """What the checkpoint's training chose its best model by."""

    def scores(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Every metric of the criterion, over the whole set.  The weights are not changed."""
        from fairseq import metrics

        self._model.load_state_dict(dict(weights), strict=True, model_cfg=self._cfg.model)
        logging_outputs = []
        for batch in self._batches():
            _, _, logged = self._task.valid_step(batch, self._model, self._criterion)
            logging_outputs.append(logged)
        with metrics.aggregate() as of_the_set:
            self._task.reduce_metrics(logging_outputs, self._criterion)
            values = of_the_set.get_smoothed_values()
        return {
            name: float(value)
            for name, value in values.items()
            if isinstance(value, (int, float, Tensor))
        }

    def check_metric(self, metric: Metric) -> None:
        """Look for a metric in the first batch, before any model is scored.

        Raises:
            DataError: the sentences have no labels.
            MissingMetricError: the criterion does not compute it.
        """
        batch = next(self._batches())
        if "target" not in batch:
            raise DataError(
                f"{self._task.cfg.data}: the split {self._subset} has no labels, so no metric can "
                "be computed"
            )
        there = logged_in_validation(
            self._task, batch, self._model, self._criterion, self._criterion
        )
        if metric.name not in there:
            names = ", ".join(sorted(there)[:MOST_NAMES])
            raise MissingMetricError(f"there is no metric {metric.name!r}; there is {names}")

    def score(self, weights: Mapping[str, Tensor], metric: Metric) -> float:
        """The goodness of one metric, which `check_metric` has found."""
        return metric.goodness(self.scores(weights)[metric.name])

    def _batches(self) -> Iterator[Any]:
        """Those of the training's validations, but for a size that is given."""
        from fairseq import utils

        dataset = self._cfg.dataset
        sentences = self._batch_size or dataset.batch_size_valid
        if sentences is None and dataset.max_tokens_valid is None:
            sentences = SENTENCES
        return batches(
            self._task,
            self._subset,
            self._dataset,
            device=self._device,
            max_tokens=None if self._batch_size else dataset.max_tokens_valid,
            max_sentences=sentences,
            max_positions=utils.resolve_max_positions(
                self._task.max_positions(), self._model.max_positions()
            ),
            ignore_invalid_inputs=dataset.skip_invalid_size_inputs_valid_test,
            required_batch_size_multiple=dataset.required_batch_size_multiple,
            seed=self._cfg.common.seed,
        )
