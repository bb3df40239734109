"""Adversarial fine-tuning: noise that raises the loss, and a model that bears it.

    attention  L(x) + w D(p(x), p(x, R)),        R = eps unit( grad_R D(p(x), p(x, R_0)) )
    FGM        (L(x) + w L(x + r)) / (1 + w),    r = eps unit( grad_r L(x + r) at 0 )
    PGD        (L(x) + w L(x + d_K)) / (1 + w),  d <- Pi( d + a unit(grad L(x + d)) ), K times
    FreeLB     1/K sum_t L(x + d_t), t < K,      d_t: PGD's after t steps, from random noise
    SMART      L(x) + w D(p(x), p(x + d_K)),     d <- Pi( d + a unit(grad D(p(x), p(x + d))) )

D(p, q) compares predictions (``divergence.py``); unit and Pi are those of a norm
(``perturbation.py``); where noise enters is the site's business (``noise_sites.py``).

| method    | source                                                | passes | graphs |
|-----------|-------------------------------------------------------|--------|--------|
| attention | wenxin (Baidu), strategy "adv"; one step as described | K + 2  | 1      |
| FGM       | arXiv 1605.07725, section 3                           | 2      | 1      |
| PGD       | arXiv 1706.06083, section 2.1; from zero noise        | K + 1  | 1      |
|           | from random noise                                     | K + 2  | 1      |
| FreeLB    | arXiv 1909.11764, algorithm 1                         | K      | 1      |
| SMART     | arXiv 1911.03437, section 3.1; not its Bregman steps  | K + 2  | 2      |

A pass is one forward and one backward through the model, no more: where an inner pass is part of
the loss, one backward gives the slopes along noise and parameters (``inner_gradients.py``).  Graphs
is how many passes' activations are in memory together; SMART's divergence moves both of its
predictions, so it needs two.

Deviation: the papers add the two losses of FGM up.  Here they are averaged, so that no noise is the
plain loss and a learning rate means what it means without noise.

K is ``steps``.  The last backward is the trainer's; the others write no parameter's ``grad``.

| paper            | here                                                                  |
|------------------|-----------------------------------------------------------------------|
| L                | ``Pass.loss``, summed over the batch                                  |
| p, f             | ``Pass.prediction``                                                   |
| w, lambda_s      | ``weight``                                                            |
| d, delta, r, R   | noise                                                                 |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .divergence import Divergence
from .inner_gradients import KeptGradients, noise_gradient
from .perturbation import Ascent, Ball, Init, Noise, NoiseSpace, projected, zero


class Pass(NamedTuple):
    """What a pass through the model gives."""

    prediction: Tensor
    """``(rows, classes)``, float32 at least, also where the model's type is narrower."""
    loss: Tensor
    """Plain loss, summed over the rows."""


class Passes(NamedTuple):
    """How to run the model with noise; None is a pass without.

    Each pass draws the same dropout masks, so that no noise is no difference.
    """

    inner: Callable[[Noise | None], Pass]
    """Every pass but the last."""
    last: Callable[[Noise | None], Pass]
    """The last one.  A wrapper for several workers prepares its all-reduce here, once a step."""
    parameters: tuple[Tensor, ...]
    """Those that train."""


class AdversarialLoss(NamedTuple):
    """What the trainer goes backward through, and its parts."""

    total: Tensor
    task: Tensor | None
    """Loss without noise; FreeLB has no such pass."""
    adversarial: Tensor
    """Divergence, or loss with noise, before its weight."""


class Adversary(Protocol):
    """A method: makes its passes and combines them."""

    unit: str | None
    """Of its sizes, ``relative`` or ``absolute``, where it was made by name; the site's must be."""

    def __call__(
        self, passes: Passes, space: NoiseSpace, generator: torch.Generator
    ) -> AdversarialLoss:
        """The loss of a step.

        Args:
            passes: run the model.
            space: the noise that the batch can have.
            generator: draws the initial noise.
        """


class AttentionAdversary:
    """Baidu's: the clean prediction is the target, which noise in the attention shall not move.

    Args:
        init: small random noise (at no noise at all the divergence has no slope).
        ascent: scales the noise, :class:`~tupe_plugin.core.perturbation.Leap`.
        divergence: of two predictions, row by row.
        weight: of the divergence.
        steps: gradients taken to find the noise.
    """

    unit: str | None = None

    def __init__(
        self, *, init: Init, ascent: Ascent, divergence: Divergence, weight: float, steps: int = 1
    ) -> None:
        self.init, self.ascent, self.divergence = init, ascent, divergence
        self.weight, self.steps = weight, steps

    def __call__(
        self, passes: Passes, space: NoiseSpace, generator: torch.Generator
    ) -> AdversarialLoss:
        clean = passes.inner(None)
        target = clean.prediction.detach()
        kept = KeptGradients(passes.parameters)
        kept.backward(clean.loss, clean.prediction)
        noise = _diverging_noise(self, target, passes, space, generator)
        noisy = passes.last(_constant(noise))
        moved = self.divergence(target, noisy.prediction).sum()
        return _with_kept(kept, clean.loss, 1.0, self.weight * moved, moved)


class SMART:
    """Smoothness: prediction and noisy prediction are pulled together, both of them.

    Args:
        init: small random noise.
        ascent: one step, within the ball.
        divergence: symmetric, row by row.
        weight: of the divergence.
        steps: ascent steps.
    """

    unit: str | None = None

    def __init__(
        self, *, init: Init, ascent: Ascent, divergence: Divergence, weight: float, steps: int = 1
    ) -> None:
        self.init, self.ascent, self.divergence = init, ascent, divergence
        self.weight, self.steps = weight, steps

    def __call__(
        self, passes: Passes, space: NoiseSpace, generator: torch.Generator
    ) -> AdversarialLoss:
        clean = passes.inner(None)
        noise = _diverging_noise(self, clean.prediction.detach(), passes, space, generator)
        noisy = passes.last(_constant(noise))
        moved = self.divergence(clean.prediction, noisy.prediction).sum()
        return AdversarialLoss(clean.loss + self.weight * moved, clean.loss, moved)


def _diverging_noise(
    method: AttentionAdversary | SMART,
    target: Tensor,
    passes: Passes,
    space: NoiseSpace,
    generator: torch.Generator,
) -> Noise:
    """Noise that takes the prediction away from a constant ``target`` ``(rows, classes)``."""
    noise = method.init(space, generator)
    for _ in range(method.steps):
        seen = space.seen(noise)
        noisy = passes.inner(seen)
        moved = method.divergence(target, noisy.prediction).sum()
        noise = method.ascent(noise, noise_gradient(moved, noisy.prediction, seen, space))
    return noise


class FGM:
    """One step along the gradient of the clean loss.

    Args:
        ascent: :class:`~tupe_plugin.core.perturbation.Leap`.
        weight: of the loss with noise, that of the clean loss being 1.
    """

    unit: str | None = None

    def __init__(self, *, ascent: Ascent, weight: float) -> None:
        self.ascent, self.weight = ascent, weight

    def __call__(
        self, passes: Passes, space: NoiseSpace, generator: torch.Generator
    ) -> AdversarialLoss:
        noise = space.zeros()
        clean = passes.inner(noise)
        kept, share = KeptGradients(passes.parameters), 1 / (1 + self.weight)
        gradient = kept.backward(share * clean.loss, clean.prediction, noise, space)
        noisy = passes.last(_constant(self.ascent(noise, gradient)))
        return _with_kept(kept, clean.loss, share, self.weight * share * noisy.loss, noisy.loss)


class PGD:
    """Several steps, then the loss at the noise reached.

    Args:
        init: zero noise, or random noise.
        ball: which the random noise must not leave.
        ascent: one step, within the ball.
        weight: of the loss with noise, that of the clean loss being 1.
        steps: ascent steps.
    """

    unit: str | None = None

    def __init__(
        self, *, init: Init, ball: Ball, ascent: Ascent, weight: float, steps: int
    ) -> None:
        self.init, self.ball, self.ascent = init, ball, ascent
        self.weight, self.steps = weight, steps

    def __call__(
        self, passes: Passes, space: NoiseSpace, generator: torch.Generator
    ) -> AdversarialLoss:
        noise = projected(self.ball, self.init(space, generator))
        kept, share, left = KeptGradients(passes.parameters), 1 / (1 + self.weight), self.steps
        if self.init is zero:  # then the clean pass is the first step's as well
            clean = passes.inner(noise)
            gradient = kept.backward(share * clean.loss, clean.prediction, noise, space)
            noise = self.ascent(noise, gradient)
            left -= 1
        else:
            clean = passes.inner(None)
            kept.backward(share * clean.loss, clean.prediction)
        for _ in range(left):
            noisy = passes.inner(noise)
            gradient = noise_gradient(noisy.loss, noisy.prediction, noise, space)
            noise = self.ascent(noise, gradient)
        noisy = passes.last(_constant(noise))
        return _with_kept(kept, clean.loss, share, self.weight * share * noisy.loss, noisy.loss)


class FreeLB:
    """The mean loss over all steps of the ascent; there is no pass without noise.

    Args:
        init: random noise.
        ball: which noise must not leave.
        ascent: one step, within the ball.
        steps: passes.
    """

    unit: str | None = None

    def __init__(self, *, init: Init, ball: Ball, ascent: Ascent, steps: int) -> None:
        self.init, self.ball, self.ascent, self.steps = init, ball, ascent, steps

    def __call__(
        self, passes: Passes, space: NoiseSpace, generator: torch.Generator
    ) -> AdversarialLoss:
        noise = projected(self.ball, self.init(space, generator))
        kept = KeptGradients(passes.parameters)
        inner: list[Tensor] = []
        for _ in range(self.steps - 1):
            noisy = passes.inner(noise)
            loss = noisy.loss / self.steps
            inner.append(loss.detach())
            noise = self.ascent(noise, kept.backward(loss, noisy.prediction, noise, space))
        last = passes.last(_constant(noise)).loss / self.steps
        mean = last + sum(inner) + kept.term(last)
        return AdversarialLoss(mean, None, mean)


def _with_kept(
    kept: KeptGradients, task: Tensor, share: float, last: Tensor, adversarial: Tensor
) -> AdversarialLoss:
    """share * task, whose gradient is kept, and what the trainer goes backward through."""
    task = task.detach()
    return AdversarialLoss(share * task + last + kept.term(last), task, adversarial)


def _constant(noise: Noise) -> Noise:
    return tuple(n.detach() for n in noise)
