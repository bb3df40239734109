"""Adversarial fine-tuning: noise that raises the loss, and a model that bears it.

    attention  L(x) + w D(p(x), p(x, R)),        R = eps unit( grad_R D(p(x), p(x, R_0)) )
    FGM        (L(x) + w L(x + r)) / (1 + w),    r = eps unit( grad_r L(x + r) at 0 )
    PGD        (L(x) + w L(x + d_K)) / (1 + w),  d <- Pi( d + a unit(grad L(x + d)) ), K times
    FreeLB     1/K sum_t L(x + d_t), t < K,      d_t: PGD's after t steps, from random noise
    SMART      L(x) + w D(p(x), p(x + d_K)),     d <- Pi( d + a unit(grad D(p(x), p(x + d))) )

D(p, q) compares predictions (``divergence.py``); unit and Pi are those of a norm
(``perturbation.py``); where noise enters is the site's business (``noise_sites.py``).

| method    | source                                                | forwards | backwards |
|-----------|-------------------------------------------------------|----------|-----------|
| attention | wenxin (Baidu), strategy "adv"; one step as described | K + 2    | K + 1     |
| FGM       | arXiv 1605.07725, section 3                           | 2        | 2         |
| PGD       | arXiv 1706.06083, section 2.1; from zero noise        | K + 1    | K + 1     |
|           | from random noise                                     | K + 2    | K + 1     |
| FreeLB    | arXiv 1909.11764, algorithm 1                         | K        | K         |
| SMART     | arXiv 1911.03437, section 3.1; not its Bregman steps  | K + 2    | K + 1     |

Deviation: the papers add the two losses of FGM up.  Here they are averaged, so that no noise is the
plain loss and a learning rate means what it means without noise.

K is ``steps``.  The last backward is the trainer's.  The others take gradients with respect to the
noise and to nothing else: no parameter's ``grad`` is written.

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


class AdversarialLoss(NamedTuple):
    """What the trainer goes backward through, and its parts."""

    total: Tensor
    task: Tensor | None
    """Loss without noise; FreeLB has no such pass."""
    adversarial: Tensor
    """Divergence, or loss with noise, before its weight."""


class Adversary(Protocol):
    """A method: makes its passes and combines them."""

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
        noise = _parting_noise(self, target, passes, space, generator)
        noisy = passes.last(_constant(noise))
        apart = self.divergence(target, noisy.prediction).sum()
        return AdversarialLoss(clean.loss + self.weight * apart, clean.loss, apart)


class SMART:
    """Smoothness: prediction and noisy prediction are pulled together, both of them.

    Args:
        init: small random noise.
        ascent: one step, within the ball.
        divergence: symmetric, row by row.
        weight: of the divergence.
        steps: ascent steps.
    """

    def __init__(
        self, *, init: Init, ascent: Ascent, divergence: Divergence, weight: float, steps: int = 1
    ) -> None:
        self.init, self.ascent, self.divergence = init, ascent, divergence
        self.weight, self.steps = weight, steps

    def __call__(
        self, passes: Passes, space: NoiseSpace, generator: torch.Generator
    ) -> AdversarialLoss:
        clean = passes.inner(None)
        noise = _parting_noise(self, clean.prediction.detach(), passes, space, generator)
        noisy = passes.last(_constant(noise))
        apart = self.divergence(clean.prediction, noisy.prediction).sum()
        return AdversarialLoss(clean.loss + self.weight * apart, clean.loss, apart)


def _parting_noise(
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
        apart = method.divergence(target, noisy.prediction).sum()
        noise = method.ascent(noise, noise_gradient(apart, noisy.prediction, seen, space))
    return noise


class FGM:
    """One step along the gradient of the clean loss.

    Args:
        ascent: :class:`~tupe_plugin.core.perturbation.Leap`.
        weight: of the loss with noise, that of the clean loss being 1.
    """

    def __init__(self, *, ascent: Ascent, weight: float) -> None:
        self.ascent, self.weight = ascent, weight

    def __call__(
        self, passes: Passes, space: NoiseSpace, generator: torch.Generator
    ) -> AdversarialLoss:
        noise = space.zeros()
        clean = passes.inner(noise)
        gradient = noise_gradient(clean.loss, clean.prediction, noise, space, retain_graph=True)
        noisy = passes.last(_constant(self.ascent(noise, gradient)))
        return _averaged(clean.loss, noisy.loss, self.weight)


class PGD:
    """Several steps, then the loss at the noise reached.

    Args:
        init: zero noise, or random noise.
        ball: which the random noise must not leave.
        ascent: one step, within the ball.
        weight: of the loss with noise, that of the clean loss being 1.
        steps: ascent steps.
    """

    def __init__(
        self, *, init: Init, ball: Ball, ascent: Ascent, weight: float, steps: int
    ) -> None:
        self.init, self.ball, self.ascent = init, ball, ascent
        self.weight, self.steps = weight, steps

    def __call__(
        self, passes: Passes, space: NoiseSpace, generator: torch.Generator
    ) -> AdversarialLoss:
        noise = projected(self.ball, self.init(space, generator))
        if self.init is zero:  # then the clean pass is the first step's as well
            clean = passes.inner(noise)
            gradient = noise_gradient(clean.loss, clean.prediction, noise, space, retain_graph=True)
            noise = self.ascent(noise, gradient)
            left = self.steps - 1
        else:
            clean, left = passes.inner(None), self.steps
        for _ in range(left):
            noisy = passes.inner(noise)
            gradient = noise_gradient(noisy.loss, noisy.prediction, noise, space)
            noise = self.ascent(noise, gradient)
        noisy = passes.last(_constant(noise))
        return _averaged(clean.loss, noisy.loss, self.weight)


class FreeLB:
    """The mean loss over all steps of the ascent; there is no pass without noise.

    Args:
        init: random noise.
        ball: which noise must not leave.
        ascent: one step, within the ball.
        steps: passes.
    """

    def __init__(self, *, init: Init, ball: Ball, ascent: Ascent, steps: int) -> None:
        self.init, self.ball, self.ascent, self.steps = init, ball, ascent, steps

    def __call__(
        self, passes: Passes, space: NoiseSpace, generator: torch.Generator
    ) -> AdversarialLoss:
        noise = projected(self.ball, self.init(space, generator))
        losses = []
        for _ in range(self.steps - 1):
            noisy = passes.inner(noise)
            losses.append(noisy.loss)
            gradient = noise_gradient(noisy.loss, noisy.prediction, noise, space, retain_graph=True)
            noise = self.ascent(noise, gradient)
        losses.append(passes.last(_constant(noise)).loss)
        mean = torch.stack(losses).mean()
        return AdversarialLoss(mean, None, mean)


def _averaged(task: Tensor, adversarial: Tensor, weight: float) -> AdversarialLoss:
    return AdversarialLoss((task + weight * adversarial) / (1 + weight), task, adversarial)


CARRIED_WELL = 128.0
"""Largest gradient at the prediction of an inner backward; fairseq's first loss scale."""


def noise_gradient(
    objective: Tensor,
    prediction: Tensor,
    noise: Noise,
    space: NoiseSpace,
    *,
    retain_graph: bool = False,
) -> Noise:
    """Direction in which noise raises ``objective``: its gradient, but for a factor.

    Only the direction is used.  So the gradient is scaled where it enters the model, in float32, to
    a size that a half-precision backward carries without under- or overflow; by a power of two,
    which changes nothing else.

    Args:
        objective: scalar.
        prediction: ``(rows, classes)``, through which the objective depends on the noise.
        noise: leaves that require a gradient.
        space: 0 is returned where it does not allow noise.
        retain_graph: the trainer will go backward through the same pass.
    """
    scaling = prediction.register_hook(_well_carried)
    try:
        gradients = torch.autograd.grad(objective, noise, retain_graph=retain_graph)
    finally:
        scaling.remove()
    return tuple(
        gradient.masked_fill(~allowed, 0.0)
        for gradient, allowed in zip(gradients, space.allowed, strict=True)
    )


def _well_carried(gradient: Tensor) -> Tensor:
    factor = torch.exp2(torch.floor(torch.log2(CARRIED_WELL / gradient.abs().amax())))
    return torch.where(factor.isfinite() & (factor > 0), gradient * factor, gradient)


def _constant(noise: Noise) -> Noise:
    return tuple(n.detach() for n in noise)
