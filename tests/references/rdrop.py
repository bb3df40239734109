"""R-Drop's loss written out, sentence by sentence and class by class, in Python floats."""

from __future__ import annotations

import math
from collections.abc import Sequence


def softmax(logits: Sequence[float]) -> list[float]:
    total = sum(math.exp(x) for x in logits)
    return [math.exp(x) / total for x in logits]


def kl(logits_p: Sequence[float], logits_q: Sequence[float]) -> float:
    p, q = softmax(logits_p), softmax(logits_q)
    return sum(p[c] * math.log(p[c] / q[c]) for c in range(len(p)))


def square(p: Sequence[float], q: Sequence[float]) -> float:
    return sum((p[c] - q[c]) ** 2 for c in range(len(p)))


def classification_loss(
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]],
    targets: Sequence[int],
    alpha: float,
) -> float:
    loss = 0.0
    for p, q, target in zip(first, second, targets, strict=True):
        loss += (-math.log(softmax(p)[target]) - math.log(softmax(q)[target])) / 2
        loss += alpha * (kl(p, q) + kl(q, p)) / 2
    return loss


def regression_loss(
    first: Sequence[float], second: Sequence[float], targets: Sequence[float], alpha: float
) -> float:
    loss = 0.0
    for p, q, target in zip(first, second, targets, strict=True):
        loss += ((p - target) ** 2 + (q - target) ** 2) / 2 + alpha * (p - q) ** 2
    return loss


def authors_fairseq_loss(
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]],
    targets: Sequence[int],
    alpha: float,
) -> float:
    """Summed, as fairseq's criterions are: nll + nll + alpha (KL + KL) / 2."""
    nll = kl_sum = 0.0
    for p, q, target in zip(first, second, targets, strict=True):
        nll += -math.log(softmax(p)[target])
        nll += -math.log(softmax(q)[target])
        kl_sum += kl(q, p) + kl(p, q)
    return nll + alpha * kl_sum / 2


def authors_glue_loss(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], targets: Sequence[int]
) -> float:
    """Cross entropies averaged over the batch, KL summed over it: CE + CE + 0.5 (KL + KL) / 2."""
    rows = len(targets)
    loss = 0.0
    for logits in (first, second):
        loss += sum(-math.log(softmax(z)[t]) for z, t in zip(logits, targets, strict=True)) / rows
    kl_sum = sum(kl(q, p) for p, q in zip(first, second, strict=True))
    reverse_kl_sum = sum(kl(p, q) for p, q in zip(first, second, strict=True))
    return loss + 0.5 * (kl_sum + reverse_kl_sum) / 2


def authors_glue_regression_loss(
    first: Sequence[float], second: Sequence[float], targets: Sequence[float]
) -> float:
    """Means over the batch: MSE + MSE + MSE between the two."""

    def mse(a: Sequence[float], b: Sequence[float]) -> float:
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / len(a)

    return mse(first, targets) + mse(second, targets) + 1.0 * mse(first, second)
