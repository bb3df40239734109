"""R-Drop: two passes with different dropout masks shall predict the same.

    loss = (L_1 + L_2) / 2  +  alpha (D(p_1, p_2) + D(p_2, p_1)) / 2

Both passes are one forward over the batch laid twice along its first axis; dropout draws a mask for
each copy.  D is the Kullback-Leibler divergence; for regression it is the squared difference.  With
equal passes (dropout 0) the loss is the plain one.

Source: R-Drop (arXiv 2106.14448), equations 2 to 4.  Deviation: the paper adds L_1 and L_2 up; here
they are averaged, so that a learning rate means what it means without R-Drop.  So a weight of the
authors is another number here; theirs for a batch of B rows, and what makes ours a half of it:

| authors' form                                                         | alpha here              |
|-----------------------------------------------------------------------|-------------------------|
| paper, fairseq code: sum over rows of L_1 + L_2 + a (D + D)/2         | `alpha_of_paper(a)`     |
| GLUE code: mean of L_1 + mean of L_2 + 0.5 times the sum of (D + D)/2 | `alpha_of_glue_code(B)` |
| GLUE code, regression: mean of L_1 + L_2 + D                          | 0.5                     |

| paper            | here                                                    |
|------------------|---------------------------------------------------------|
| x, twice         | ``twice(x)``                                            |
| L_1, L_2         | ``task_losses``, each summed over its copy of the batch |
| P_1^w, P_2^w     | the first and second half of ``prediction``             |
| alpha            | ``alpha``                                               |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .bounds import LOSS_WEIGHT
from .divergence import Divergence, kl_divergence
from .reduction import summands, wide


def alpha_of_paper(alpha: float) -> float:
    """Alpha here for a weight of the paper's equation, or of the authors' fairseq code."""
    return alpha / 2


def alpha_of_glue_code(batch_size: int) -> float:
    """Alpha here for the authors' GLUE code, whose divergence grows with the rows of a batch."""
    return 0.5 * batch_size / 2


PUBLISHED = (
    f"published: {alpha_of_paper(0.1):g} to {alpha_of_paper(1.0):g}, chosen for each task (the "
    f"paper's 0.1 to 1.0, which adds the two losses up); the authors' GLUE code has "
    f"{alpha_of_glue_code(1):g} times the batch size"
)
"""For a help text."""


class RDropLoss(NamedTuple):
    """The loss and its parts, each summed over the batch: total = task + alpha divergence.

    Or averaged, where :func:`rdrop` is asked for that.
    """

    total: Tensor
    task: Tensor
    divergence: Tensor


def twice(x: Tensor) -> Tensor:
    """Lay a batch twice along its first axis: ``(batch, ...)`` -> ``(2 batch, ...)``."""
    return torch.cat([x, x])


def rdrop_loss(
    task_losses: tuple[Tensor, Tensor],
    prediction: Tensor,
    *,
    alpha: float,
    divergence: Divergence = kl_divergence,
) -> RDropLoss:
    """Loss of a batch that has passed through the model twice.

    Args:
        task_losses: the plain loss of each copy, summed over the rows.
        prediction: ``(2 rows, classes)``, the rows of the first copy before those of the second.
        alpha: weight of the divergence, >= 0; 0 averages the two passes, and that is all.
        divergence: of two predictions, row by row.

    Raises:
        ValueError: ``alpha`` is out of bounds (those of ``--rdrop-alpha``).
    """
    problem = LOSS_WEIGHT.problem(alpha)
    if problem is not None:
        raise ValueError(f"alpha={alpha}: {problem}, the weight of R-Drop's divergence")
    first, second = prediction.chunk(2)
    task = (task_losses[0] + task_losses[1]) / 2
    mean = (divergence(first, second) + divergence(second, first)).sum() / 2
    return RDropLoss(task + alpha * mean, task, mean)


def rdrop(
    predict: Callable[[], Tensor],
    loss: Callable[[Tensor], Tensor],
    *,
    alpha: float,
    divergence: Divergence = kl_divergence,
    reduction: str = "mean",
) -> RDropLoss:
    """R-Drop's loss of a batch, by two passes; go backward through its ``total``.

    The same as one pass over the doubled batch, in the memory of that one.

    Args:
        predict: a pass of the batch through the model in training mode: ``(rows, classes)``.
        loss: of a prediction, a number.
        alpha: weight of the divergence, >= 0.
        divergence: of two predictions, row by row; ``squared_difference`` for regression.
        reduction: whether ``loss`` is the ``mean`` over the rows or the ``sum``; so is the result.

    Raises:
        ValueError: ``alpha`` is out of bounds, or ``reduction`` is neither.
    """
    passes = wide(predict()), wide(predict())
    factor = summands(passes[0], reduction)
    losses = loss(passes[0]) * factor, loss(passes[1]) * factor
    summed = rdrop_loss(losses, torch.cat(passes), alpha=alpha, divergence=divergence)
    return RDropLoss(*(part / factor for part in summed))
