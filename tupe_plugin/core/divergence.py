"""How far two predictions of one batch are apart, row by row.

    classification   KL(p || q) = sum_c p_c (log p_c - log q_c)
    regression       (p - q)^2

Symmetric is KL(p || q) + KL(q || p).  Its detached form has the same value and, between predictions
that are near each other, half its gradient.

A row is what the loss sums over: a sentence, or a masked token.  All take what the model gives
(logits, or one number for each row) and pass a gradient on to both sides; detach the side that is
to be a fixed target.  Predictions of another shape raise a ValueError.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

Divergence = Callable[[Tensor, Tensor], Tensor]
"""Two predictions ``(rows, classes)`` -> ``(rows,)``; 0 where they are equal."""


def _rows(prediction: Tensor, *, fewest: int) -> Tensor:
    if prediction.dim() != 2 or prediction.size(-1) < fewest:
        raise ValueError(
            f"a prediction of shape {tuple(prediction.shape)}: give (rows, classes), with 2 "
            "classes or more; a regression is (rows, 1) and takes squared_difference, or "
            "regression=True"
        )
    return prediction


def kl_divergence(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """KL(p || q), in nats, of distributions given as logits: ``(rows, classes)`` -> ``(rows,)``."""
    log_p, log_q = (F.log_softmax(_rows(x, fewest=2), dim=-1) for x in (logits_p, logits_q))
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=-1)


def symmetric_kl_divergence(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """KL(p || q) + KL(q || p): ``(rows, classes)`` -> ``(rows,)``."""
    log_p, log_q = (F.log_softmax(_rows(x, fewest=2), dim=-1) for x in (logits_p, logits_q))
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=-1)


def detached_symmetric_kl_divergence(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """KL(p* || q) + KL(q* || p), where * has no gradient: ``(rows, classes)`` -> ``(rows,)``.

    Source: ``SymKlCriterion`` in mt-dnn, the code of SMART's authors (arXiv 1911.03437).
    """
    return kl_divergence(logits_p.detach(), logits_q) + kl_divergence(logits_q.detach(), logits_p)


def squared_difference(p: Tensor, q: Tensor) -> Tensor:
    """(p - q)^2 of two regressions: ``(rows, outputs)`` -> ``(rows,)``."""
    return (_rows(p, fewest=1) - _rows(q, fewest=1)).square().sum(dim=-1)
