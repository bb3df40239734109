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
