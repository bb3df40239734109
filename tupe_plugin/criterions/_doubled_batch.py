"""R-Drop's loss out of any plain criterion of fairseq: the model runs once, over the doubled batch.

The sample size stays that of the batch, so learning rate, clipping and `--update-freq` mean what
they mean without R-Drop.
"""

from collections.abc import Callable
from typing import Any

import torch

from ..core.divergence import Divergence
from ..core.rdrop import rdrop_loss, twice
from ._answering_model import AnsweringModel

PlainLoss = Callable[[Any, dict[str, Any]], tuple[torch.Tensor, Any, dict[str, Any]]]
"""A criterion's forward: (model, sample) -> (summed loss, sample size, logging output)."""


def doubled_batch_loss(
    plain: PlainLoss, model: Any, sample: dict[str, Any], *, alpha: float, divergence: Divergence
) -> tuple[torch.Tensor, Any, dict[str, Any]]:
    """What the criterion `plain` would return, with R-Drop's loss.

    `accuracy` in the log is that of the first copy.
    """
    predictions: list[torch.Tensor] = []

    def first(**arguments: Any) -> tuple[torch.Tensor, Any]:
        batch = sample["net_input"]["src_tokens"].size(0)
        prediction, extra = model(**_doubled(arguments, batch))
        # In float32, as the criterions compute their losses in it.
        predictions.append(prediction.to(torch.promote_types(prediction.dtype, torch.float32)))
        return predictions[0].chunk(2)[0], extra

    def second(**arguments: Any) -> tuple[torch.Tensor, Any]:
        return predictions[0].chunk(2)[1], None

    first_loss, sample_size, log = plain(AnsweringModel(model, first), sample)
    second_loss, _, _ = plain(AnsweringModel(model, second), sample)
    loss = rdrop_loss((first_loss, second_loss), predictions[0], alpha=alpha, divergence=divergence)
    terms = {"task_loss": loss.task.data, "rdrop_divergence": loss.divergence.data}
    return loss.total, sample_size, {**log, "loss": loss.total.data, **terms}


def _doubled(arguments: dict[str, Any], batch: int) -> dict[str, Any]:
    """Every tensor that has the batch axis first, laid twice along it."""
    return {
        name: twice(value) if torch.is_tensor(value) and value.shape[:1] == (batch,) else value
        for name, value in arguments.items()
    }
