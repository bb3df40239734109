"""R-Drop on any task: one forward over the doubled batch, and the loss of both halves.

The sample size stays that of the batch, so learning rate, clipping and `--update-freq` mean what
they mean without R-Drop.
"""

from typing import Any

import torch

from ..core.rdrop import RDropLoss, rdrop_loss, twice
from .loss_terms import loss_terms
from .task_loss import Report, Sample, TaskLoss, divergence_of


def rdrop_step(
    task: TaskLoss, model: Any, sample: Sample, *, alpha: float
) -> tuple[torch.Tensor, Any, Report]:
    """What a criterion's forward returns.  `accuracy` in the log is that of the first copy."""
    prediction = task.predict(model, doubled(sample))
    loss = loss_of_both(task, prediction, sample, alpha=alpha)
    size, report = task.report(prediction.chunk(2)[0], sample)
    terms = loss_terms(task_loss=loss.task, rdrop_divergence=loss.divergence)
    return loss.total, size, {**report, "loss": loss.total.data, **terms}


def loss_of_both(
    task: TaskLoss, prediction: torch.Tensor, sample: Sample, *, alpha: float
) -> RDropLoss:
    """The loss of a prediction ``(2 rows, classes)`` for a doubled batch."""
    first, second = prediction.chunk(2)
    losses = task.loss(first, sample), task.loss(second, sample)
    return rdrop_loss(losses, prediction, alpha=alpha, divergence=divergence_of(task))


def doubled(sample: Sample) -> Sample:
    """The batch twice, one copy after the other, in all that the model or the targets see."""
    batch = sample["net_input"]["src_tokens"].size(0)

    def double(value: Any) -> Any:
        whole = torch.is_tensor(value) and value.shape[:1] == (batch,)
        return twice(value) if whole else value

    net_input = {name: double(value) for name, value in sample["net_input"].items()}
    return {**sample, "net_input": net_input, "target": double(sample["target"])}
