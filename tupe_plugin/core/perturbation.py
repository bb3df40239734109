"""How adversarial noise begins, climbs, and stays within its radius.

    noise_0 = init;     noise_t+1 = project( noise_t + step along the gradient )

``init``, the ascent and the ball are objects: a published variant is a choice of the three.  A
ball measures noise by vectors: all of a sentence together (``first_axis`` 1), or the last axis
alone (-1: each token's embedding, each query's attention).  Everything is computed in the noise's
own type, which is float32 at least, whatever the model's is.

| paper (PGD, FreeLB, SMART)  | here                                                     |
|-----------------------------|----------------------------------------------------------|
| delta, r                    | noise, a tuple of tensors (several layers: several)      |
| epsilon                     | ``radius``                                               |
| Pi, projection              | ``project``                                              |
| alpha, eta                  | ``step_size``                                            |
| g / |g|                     | ``unit``                                                 |
| argmax_|v|<=1 <g, v>        | ``steepest``: g / |g|_2 or sign(g)                       |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

Noise = tuple[Tensor, ...]

SEEN = 16.0
"""Roundings that noise must measure to be seen.

Measured on two layers x 128: the direction found in bfloat16 or float16 has a cosine of at least
0.98 with float64's; with 4 it is 0.85 to 0.94, and at 64 the loss is no longer linear (0.85).
"""


class NoiseSpace(NamedTuple):
    """Noise that a batch can have."""

    allowed: tuple[Tensor, ...]
    """A mask of each noise tensor's shape, True = may be perturbed; padding may not."""
    dtype: torch.dtype = torch.float32
    rounding: Tensor | None = None
    """How far a half-precision model rounds what a sentence's noise is added to, ``(batch, 1, 1)``,
    or None."""
    unit: Tensor | None = None
    """What noise of size 1 is in the model, broadcast over each noise tensor; None is 1."""
    growth: float = 1.0
    """Share of its size with which noise enters the model, for a radius that grows from 0."""

    def in_model(self, noise: Noise) -> Noise:
        """The noise as the model gets it: in the model's own unit, and grown so far."""
        if self.unit is not None:
            noise = tuple(n * self.unit for n in noise)
        return noise if self.growth == 1.0 else tuple(n * self.growth for n in noise)

    def seen(self, noise: Noise) -> Noise:
        """The same noise fully grown, longer where the model's rounding would hide it.

        For slopes only: noise of a size below the rounding moves no prediction, and then a
        divergence has no slope.  Near no noise the slope has the same direction whatever the
        noise's size is.
        """
        if self.growth == 0.0 or (self.growth == 1.0 and self.rounding is None):
            return noise
        least = 0.0 if self.rounding is None else SEEN * self.rounding
        sizes = [
            (_of_sentences(n.detach().square()) / _of_sentences(allowed).clamp(min=1)).sqrt()
            for n, allowed in zip(self.in_model(noise), self.allowed, strict=True)
        ]
        return _open(
            n.detach() * torch.where(size > 0, least / size, 1.0).clamp(min=1 / self.growth)
            for n, size in zip(noise, sizes, strict=True)
        )

    def zeros(self) -> Noise:
        """No noise yet, open for a gradient."""
        return tuple(
            torch.zeros(mask.shape, dtype=self.dtype, device=mask.device, requires_grad=True)
            for mask in self.allowed
        )

    def draw(self, sample: Callable[[Tensor, Tensor], Tensor]) -> Noise:
        """Noise of ``sample(empty, allowed)``, 0 where it is not allowed, open for a gradient."""
        drawn = []
        for mask in self.allowed:
            empty = torch.empty(mask.shape, dtype=self.dtype, device=mask.device)
            drawn.append(sample(empty, mask).masked_fill_(~mask, 0.0).requires_grad_())
        return tuple(drawn)


def _of_sentences(x: Tensor) -> Tensor:
    """Summed over each sentence: ``(batch, 1, ...)``."""
    return x.sum(tuple(range(1, x.dim())), keepdim=True)


# ---- balls: how long noise is, and how long it may be


class Ball(Protocol):
    """All noise whose vectors are no longer than ``radius``."""

    @property
    def radius(self) -> float:
        """Largest length."""

    def unit(self, gradient: Tensor) -> Tensor:
        """Each vector divided by its length; 0 where it has none that is finite."""

    def steepest(self, gradient: Tensor) -> Tensor:
        """The vectors of length 1 along which the gradient rises fastest."""

    def project(self, noise: Tensor) -> Tensor:
        """The nearest noise in the ball."""

    def bound(self, allowed: Tensor) -> Tensor | float:
        """Size of the entries of a vector at the surface, if all are of one size."""


@dataclass(frozen=True)
class L2Ball:
    """Euclidean length."""

    radius: float
    first_axis: int = 1

    def unit(self, gradient: Tensor) -> Tensor:
        # Divided by the largest entry first: squares of small gradients would underflow.
        scaled = _divided(gradient, _largest(gradient, self.first_axis))
        return _divided(scaled, _length(scaled, self.first_axis))

    def steepest(self, gradient: Tensor) -> Tensor:
        return self.unit(gradient)

    def project(self, noise: Tensor) -> Tensor:
        length = _length(noise, self.first_axis)
        return noise * torch.where(length > self.radius, self.radius / length, 1.0)

    def bound(self, allowed: Tensor) -> Tensor:
        entries = allowed.sum(_axes(allowed, self.first_axis), keepdim=True)
        return self.radius / entries.clamp(min=1).sqrt()


@dataclass(frozen=True)
class LInfBall:
    """Largest entry."""

    radius: float
    first_axis: int = 1

    def unit(self, gradient: Tensor) -> Tensor:
        return _divided(gradient, _largest(gradient, self.first_axis))

    def steepest(self, gradient: Tensor) -> Tensor:
        return torch.where(gradient.isfinite(), gradient.sign(), 0.0)

    def project(self, noise: Tensor) -> Tensor:
        return noise.clamp(-self.radius, self.radius)

    def bound(self, allowed: Tensor) -> float:
        return self.radius


BALLS: dict[str, Callable[[float, int], Ball]] = {"l2": L2Ball, "linf": LInfBall}


def _axes(x: Tensor, first_axis: int) -> tuple[int, ...]:
    return tuple(range(first_axis % x.dim(), x.dim()))


def _largest(x: Tensor, first_axis: int) -> Tensor:
    return x.abs().amax(_axes(x, first_axis), keepdim=True)


def _length(x: Tensor, first_axis: int) -> Tensor:
    return torch.linalg.vector_norm(x, dim=_axes(x, first_axis), keepdim=True)


def _divided(x: Tensor, length: Tensor) -> Tensor:
    usable = length.isfinite() & (length > 0)
    return torch.where(usable, x / length.masked_fill(~usable, 1.0), 0.0)


# ---- where noise begins

Init = Callable[[NoiseSpace, torch.Generator], Noise]


def zero(space: NoiseSpace, generator: torch.Generator) -> Noise:
    """No noise."""
    return space.zeros()


@dataclass(frozen=True)
class Uniform:
    """Entries from U(-1, 1) times the bound of ``ball``, so that no vector leaves it.

    With an L2 ball this is FreeLB's start: radius / sqrt(entries of the sentence).
    """

    ball: Ball

    def __call__(self, space: NoiseSpace, generator: torch.Generator) -> Noise:
        return space.draw(
            lambda empty, allowed: (
                empty.uniform_(-1, 1, generator=generator) * self.ball.bound(allowed)
            )
        )


@dataclass(frozen=True)
class Normal:
    """Entries from N(0, std^2)."""

    std: float

    def __call__(self, space: NoiseSpace, generator: torch.Generator) -> Noise:
        return space.draw(lambda empty, _: empty.normal_(generator=generator) * self.std)


# ---- how it climbs

Ascent = Callable[[Noise, Noise], Noise]
"""(noise, gradient of what is to rise) -> noise, open for the next gradient."""


@dataclass(frozen=True)
class Leap:
    """At once to the surface: radius times the steepest direction, wherever the noise was."""

    ball: Ball

    def __call__(self, noise: Noise, gradient: Noise) -> Noise:
        return _open(self.ball.radius * self.ball.steepest(g) for g in gradient)


@dataclass(frozen=True)
class SteepestStep:
    """A step of length ``step_size`` in the steepest direction, and back into the ball."""

    ball: Ball
    step_size: float

    def __call__(self, noise: Noise, gradient: Noise) -> Noise:
        return _open(
            self.ball.project(n.detach() + self.step_size * self.ball.steepest(g))
            for n, g in zip(noise, gradient, strict=True)
        )


@dataclass(frozen=True)
class UnitStep:
    """A step along the gradient divided by its length, and back into the ball."""

    ball: Ball
    step_size: float

    def __call__(self, noise: Noise, gradient: Noise) -> Noise:
        return _open(
            self.ball.project(n.detach() + self.step_size * self.ball.unit(g))
            for n, g in zip(noise, gradient, strict=True)
        )


def projected(ball: Ball, noise: Noise) -> Noise:
    """The nearest noise in the ball, open for a gradient."""
    return _open(ball.project(n.detach()) for n in noise)


def _open(tensors: object) -> Noise:
    return tuple(tensor.requires_grad_() for tensor in tensors)  # type: ignore[attr-defined]
