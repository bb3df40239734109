"""Adversarial losses for one sentence at a time, without padding, in float64.

`loss(noise)` and `predict(noise)` run the model on one sentence with noise of that sentence's own
shape; `predict` gives its logits as a vector.  L2 noise of a whole sentence, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]
Predict = Callable[[Tensor], Tensor]


def slope(function: Loss, noise: Tensor) -> Tensor:
    noise = noise.detach().requires_grad_()
    function(noise).backward()
    assert noise.grad is not None
    return noise.grad


def kl(p: Tensor, q: Tensor) -> Tensor:
    total = torch.zeros((), dtype=p.dtype)
    for c in range(len(p)):
        log_p = p[c] - torch.logsumexp(p, 0)
        log_q = q[c] - torch.logsumexp(q, 0)
        total = total + log_p.exp() * (log_p - log_q)
    return total


def into_ball(noise: Tensor, epsilon: float) -> Tensor:
    length = float(noise.pow(2).sum().sqrt())
    return noise if length <= epsilon else noise * epsilon / length


def fgm(loss: Loss, nothing: Tensor, *, epsilon: float, weight: float) -> Tensor:
    g = slope(loss, nothing)
    noisy = loss(epsilon * g / g.pow(2).sum().sqrt())
    return (loss(nothing) + weight * noisy) / (1 + weight)


def pgd(
    loss: Loss, start: Tensor, *, epsilon: float, step_size: float, steps: int, weight: float
) -> Tensor:
    noise = into_ball(start, epsilon)
    for _ in range(steps):
        g = slope(loss, noise)
        noise = into_ball(noise + step_size * g / g.pow(2).sum().sqrt(), epsilon)
    return (loss(torch.zeros_like(start)) + weight * loss(noise)) / (1 + weight)


def pgd_linf(
    loss: Loss, start: Tensor, *, epsilon: float, step_size: float, steps: int, weight: float
) -> Tensor:
    noise = start.clamp(-epsilon, epsilon)
    for _ in range(steps):
        noise = (noise + step_size * slope(loss, noise).sign()).clamp(-epsilon, epsilon)
    return (loss(torch.zeros_like(start)) + weight * loss(noise)) / (1 + weight)


def freelb(loss: Loss, start: Tensor, *, epsilon: float, step_size: float, steps: int) -> Tensor:
    noise = into_ball(start, epsilon)
    total = torch.zeros((), dtype=start.dtype)
    for _ in range(steps):
        total = total + loss(noise) / steps
        g = slope(loss, noise)
        noise = into_ball(noise + step_size * g / g.pow(2).sum().sqrt(), epsilon)
    return total


def smart(
    loss: Loss,
    predict: Predict,
    start: Tensor,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    weight: float,
) -> Tensor:
    """L-infinity, each row of the noise (a token) by itself; symmetric KL."""
    nothing = torch.zeros_like(start)
    clean = predict(nothing)

    def apart(p: Tensor, noise: Tensor) -> Tensor:
        q = predict(noise)
        return kl(p, q) + kl(q, p)

    noise = start
    for _ in range(steps):
        g = slope(lambda r: apart(clean.detach(), r), noise)
        rows = [row + step_size * d / d.abs().max() for row, d in zip(noise, g, strict=True)]
        noise = torch.stack(rows).clamp(-epsilon, epsilon)
    return loss(nothing) + weight * apart(clean, noise)


def attention(
    loss: Loss, predict: Predict, start: Tensor, *, epsilon: float, weight: float
) -> Tensor:
    """L2, each row of the noise (a query's attention) by itself; KL from the clean prediction."""
    nothing = torch.zeros_like(start)
    clean = predict(nothing).detach()
    g = slope(lambda r: kl(clean, predict(r)), start)
    noise = torch.stack([epsilon * d / d.pow(2).sum().sqrt() for d in g])
    return loss(nothing) + weight * kl(clean, predict(noise))
