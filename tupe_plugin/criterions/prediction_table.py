"""Collects every sentence's prediction over the batches and workers of one validation pass.

A mean over mini-batches is not the metric of the set, so a criterion logs the predictions
themselves: `prediction_table` makes the entry of its logging output in ``forward``, and
`log_whole_set_metrics`, called from ``reduce_metrics``, keeps the entries until fairseq asks
for the values at the end of the pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from fairseq import metrics
from fairseq.distributed import utils as distributed_utils
from fairseq.logging.meters import MetersDict

from ..whole_set_metrics import METRIC_NAMES, whole_set_metrics

_LOG_KEYS = {kind: f"{kind}_predictions" for kind in METRIC_NAMES}


class PredictionTable(torch.Tensor):
    """Float64 rows *prediction*, *target*, *counted* of shape ``(3, sentences)``.

    A tensor, because fairseq sums logging outputs over the workers: each worker fills the
    columns of its own sentences and leaves 0 in the others'. A column whose *counted* stays 0
    was filled from a dummy batch, which only keeps the workers in step.
    """

    # The result of an operation is a plain tensor: fairseq concatenates all entries of a logging
    # output to sum them, and what it makes of the loss goes into checkpoints.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def tolist(self) -> Any:
        # fairseq-validate shows every entry of a logging output in its progress bar, and takes
        # the text from here.
        return f"{self.size(-1)} sentences"


def prediction_table(
    predictions: torch.Tensor, targets: torch.Tensor, *, kind: str
) -> dict[str, PredictionTable]:
    """Logging-output entry of one batch; a collective operation where there are several workers.

    Args:
        predictions: predicted classes or values, ``(sentences,)``; 1 is a binary task's
            positive class.
        targets: true classes or values, ``(sentences,)``.
        kind: a key of `METRIC_NAMES`.
    """
    counted = torch.ones_like(targets, dtype=torch.double)
    own = torch.stack([predictions.double(), targets.double(), counted])
    before, after = _sentences_of_other_workers(own.size(1), device=own.device)
    table = torch.nn.functional.pad(own, (before, after))
    return {_LOG_KEYS[kind]: table.as_subclass(PredictionTable)}


def _sentences_of_other_workers(own: int, *, device: torch.device) -> tuple[int, int]:
    """Sentences in this step's batches of the workers before this one, and of those after it."""
    group = distributed_utils.get_data_parallel_group()
    world_size = distributed_utils.get_world_size(group)
    if world_size == 1:
        return 0, 0
    rank = distributed_utils.get_rank(group)
    sentences = torch.zeros(world_size, dtype=torch.long, device=device)
    sentences[rank] = own
    sentences = distributed_utils.all_reduce(sentences, group=group)
    return int(sentences[:rank].sum()), int(sentences[rank + 1 :].sum())


def log_whole_set_metrics(logging_outputs: Iterable[Mapping[str, Any]]) -> None:
    """Collect the predictions in ``logging_outputs``, if there are any."""
    validation_pass = _meters_of_the_pass()
    if validation_pass is None:
        return
    for log in logging_outputs:
        for kind, log_key in _LOG_KEYS.items():
            if log_key not in log:
                continue
            store = f"_{log_key}"  # fairseq does not show a meter whose name begins with "_"
            if store not in validation_pass:
                predictions = _Predictions(kind)
                validation_pass.add_meter(store, predictions, priority=10)
                for name in METRIC_NAMES[kind]:
                    validation_pass.add_meter(name, _Metric(predictions, name), priority=15)
            validation_pass[store].tables.append(log[log_key])


def _meters_of_the_pass() -> MetersDict | None:
    """The outermost active meters beside "default": those that a pass's values are read from.

    No others may collect predictions: "valid" is never reset and goes into every checkpoint,
    and the innermost ones live for one batch.
    """
    default = metrics.get_meters("default")
    return next((m for m in metrics.get_active_aggregators() if m is not default), None)


# Both classes extend fairseq's derived meter because it is the one kind that fairseq leaves out
# of checkpoints: from there it could not load a meter class that it does not define itself.
class _Predictions(MetersDict._DerivedMeter):
    def __init__(self, kind: str):
        super().__init__(lambda meters: None)
        self.kind = kind
        self.tables: list[torch.Tensor] = []  # each (3, sentences)
        self._scored_tables = 0
        self._scores: dict[str, float] = {}

    def score(self, metric: str) -> float:
        if self._scored_tables != len(self.tables):
            predictions, targets, counted = torch.cat(self.tables, dim=1).cpu().numpy()
            self._scores = whole_set_metrics(
                predictions[counted > 0], targets[counted > 0], kind=self.kind
            )
            self._scored_tables = len(self.tables)
        return self._scores[metric]


class _Metric(MetersDict._DerivedMeter):
    def __init__(self, predictions: _Predictions, name: str):
        super().__init__(lambda meters: predictions.score(name))
