"""The losses of fairseq's two tasks, in two steps: predict, and the loss of a given prediction.

fairseq's criterions do both in one function.  A method that makes several passes, or one pass over
a doubled batch, needs them apart; the numbers are fairseq's, to the bit.
"""

from typing import Any, Protocol

import torch
from fairseq import modules
from torch.nn import functional as F

from ..core.divergence import Divergence, kl_divergence, squared_difference
from ..core.reduction import wide

Sample = dict[str, Any]
Report = dict[str, Any]


class TaskLoss(Protocol):
    """One task's."""

    regression: bool

    def predict(self, model: Any, sample: Sample) -> torch.Tensor:
        """``(rows, classes)``, float32 at least, also where the model's type is narrower."""

    def loss(self, prediction: torch.Tensor, sample: Sample) -> torch.Tensor:
        """Summed over the rows."""

    def report(self, prediction: torch.Tensor, sample: Sample) -> tuple[Any, Report]:
        """Sample size, and the logging output but for its losses."""


class SentenceLoss:
    """``--task sentence_prediction``: cross entropy, or squared errors.  A row is a sentence.

    Args:
        head: name of the classification head.
        regression: ``--regression-target``.
    """

    def __init__(self, head: str, *, regression: bool) -> None:
        self._head = head
        self.regression = regression

    def predict(self, model: Any, sample: Sample) -> torch.Tensor:
        prediction, _ = model(
            **sample["net_input"], features_only=True, classification_head_name=self._head
        )
        return wide(prediction)

    def loss(self, prediction: torch.Tensor, sample: Sample) -> torch.Tensor:
        targets = sample["target"].view(-1)
        if self.regression:
            return F.mse_loss(prediction.view(-1), targets.to(prediction.dtype), reduction="sum")
        return F.nll_loss(F.log_softmax(prediction, dim=-1), targets, reduction="sum")

    def report(self, prediction: torch.Tensor, sample: Sample) -> tuple[Any, Report]:
        targets = sample["target"].view(-1)
        size = targets.numel()
        report: Report = {"ntokens": sample["ntokens"], "nsentences": size, "sample_size": size}
        if not self.regression:
            report["ncorrect"] = (prediction.argmax(dim=1) == targets).sum()
        return size, report


class MaskedLMLoss:
    """``--task masked_lm``: cross entropy.  A row is a masked token.

    Args:
        padding_idx: what a token that is not masked has as its target.
    """

    regression = False

    def __init__(self, padding_idx: int) -> None:
        self._padding_idx = padding_idx

    def predict(self, model: Any, sample: Sample) -> torch.Tensor:
        masked = self._masked(sample)
        prediction = model(**sample["net_input"], masked_tokens=masked)[0]
        return wide(prediction.view(-1, prediction.size(-1)))

    def loss(self, prediction: torch.Tensor, sample: Sample) -> torch.Tensor:
        masked, targets = self._masked(sample), sample["target"]
        return modules.cross_entropy(
            prediction,
            (targets if masked is None else targets[masked]).view(-1),
            reduction="sum",
            ignore_index=self._padding_idx,
        )

    def report(self, prediction: torch.Tensor, sample: Sample) -> tuple[Any, Report]:
        size = sample["target"].ne(self._padding_idx).int().sum()
        report = {name: sample[name] for name in ("ntokens", "nsentences")}
        return size, {**report, "sample_size": size}

    def _masked(self, sample: Sample) -> torch.Tensor | None:
        """True at the masked tokens; where there are none, all are predicted and none counts."""
        masked = sample["target"].ne(self._padding_idx)
        if masked.device.type == "cpu":
            return masked if masked.any() else None
        return torch.where(masked.any(), masked, masked.new_ones(1))  # without waiting for the GPU


def divergence_of(task: TaskLoss) -> Divergence:
    """What compares two predictions of this task."""
    return squared_difference if task.regression else kl_divergence
