"""Score sets of weights on a dev set, as `fairseq-validate` does: task, criterion, whole set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint.errors import in_one_line
from ..checkpoint.upgraded import read_upgraded
from ..compat.metric_direction import Metric

SENTENCES = 32
"""In a batch, where the checkpoint does not say, as that of `tupe delta apply`."""


class DevSetError(ValueError):
    """The model or the data cannot be scored; the message says why."""


class DevSet:
    """A dev set, and a model into which one set of weights after another is loaded.

    Args:
        checkpoint: its configuration says what model, task and criterion are.
        data: the binarised data, as for `fairseq-train`.
        subset: `valid`, `valid1`, ...
        batch_size: sentences; None: what the checkpoint's training validated with.
        cpu: do not use a GPU.

    Raises:
        DevSetError: model and data do not belong together, or there is no such subset.
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
        from fairseq.checkpoint_utils import load_model_ensemble_and_task

        if not data.is_dir():
            raise DevSetError(f"no such folder of data: {data}")
        try:
            state = read_upgraded(checkpoint)
            state["cfg"].task.data = str(data)
            (self._model,), self._cfg, self._task = load_model_ensemble_and_task(
                [str(checkpoint)], state=state
            )
            self._task.load_dataset(subset, combine=False, epoch=1, task_cfg=self._cfg.task)
        except (AttributeError, OSError, KeyError, RuntimeError, ValueError) as error:
            raise DevSetError(
                f"{checkpoint} cannot be scored on {subset} of {data}: {in_one_line(error)}"
            ) from error
        self._criterion = self._task.build_criterion(self._cfg.criterion).eval()
        self._device = torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")
        self._model.to(self._device).eval()
        self._batches = self._batches_of(subset, batch_size)
        self.metric = Metric.of_job(self._cfg.checkpoint)
        """What the checkpoint's training chose its best model by."""

    def scores(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Every metric of the criterion, over the whole set.  The weights are not changed."""
        from fairseq import metrics, utils

        self._model.load_state_dict(dict(weights), strict=True, model_cfg=self._cfg.model)
        logging_outputs = []
        for batch in self._batches:
            if self._device.type == "cuda":
                batch = utils.move_to_cuda(batch)
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

    def score(self, weights: Mapping[str, Tensor], metric: Metric) -> float:
        """The goodness of one metric.

        Raises:
            DevSetError: the criterion does not compute it.
        """
        scores = self.scores(weights)
        if metric.name not in scores:
            raise DevSetError(
                f"there is no metric {metric.name!r}; there is {', '.join(sorted(scores))}"
            )
        return metric.goodness(scores[metric.name])

    def _batches_of(self, subset: str, batch_size: int | None) -> list[Any]:
        from fairseq import utils

        dataset = self._cfg.dataset
        sentences = batch_size or dataset.batch_size_valid
        if sentences is None and dataset.max_tokens_valid is None:
            sentences = SENTENCES
        batches = self._task.get_batch_iterator(
            dataset=self._task.dataset(subset),
            max_tokens=None if batch_size else dataset.max_tokens_valid,
            max_sentences=sentences,
            max_positions=utils.resolve_max_positions(
                self._task.max_positions(), self._model.max_positions()
            ),
            ignore_invalid_inputs=dataset.skip_invalid_size_inputs_valid_test,
            required_batch_size_multiple=dataset.required_batch_size_multiple,
            seed=self._cfg.common.seed,
        )
        return list(batches.next_epoch_itr(shuffle=False))
