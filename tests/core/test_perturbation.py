from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tupe_plugin.core.perturbation import (
    BALLS,
    L2Ball,
    Leap,
    LInfBall,
    NoiseSpace,
    Normal,
    SteepestStep,
    Uniform,
    UnitStep,
    projected,
    zero,
)

BATCH, SEQ, EMBED = 3, 7, 5
both_balls = pytest.mark.parametrize("norm", list(BALLS))
both_groups = pytest.mark.parametrize("first_axis", [1, -1])


def noise(seed: int = 1, size: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(BATCH, SEQ, EMBED, dtype=torch.float64, generator=generator)


def space(dtype: torch.dtype = torch.float64) -> NoiseSpace:
    """Sentences of 7, 5 and 1 tokens."""
    words = torch.arange(SEQ) < torch.tensor([7, 5, 1])[:, None]
    return NoiseSpace((words.unsqueeze(-1).expand(-1, -1, EMBED),), dtype)


def vectors(x: Tensor, first_axis: int) -> list[Tensor]:
    """The vectors whose length counts, one by one."""
    if first_axis == 1:
        return [sentence.flatten() for sentence in x]
    return [token for sentence in x for token in sentence]


def length(x: Tensor, norm: str) -> float:
    return math.sqrt(sum(v**2 for v in x.tolist())) if norm == "l2" else max(map(abs, x.tolist()))


@both_balls
@both_groups
def test_unit_vectors_have_length_1_and_the_gradients_direction(norm, first_axis) -> None:
    gradient = noise()
    unit = BALLS[norm](0.3, first_axis).unit(gradient)
    for u, g in zip(vectors(unit, first_axis), vectors(gradient, first_axis), strict=True):
        assert length(u, norm) == pytest.approx(1, rel=1e-12)
        torch.testing.assert_close(u, g / length(g, norm))


@both_balls
@both_groups
def test_nothing_of_length_1_rises_faster_than_the_steepest_direction(norm, first_axis) -> None:
    gradient = noise()
    ball = BALLS[norm](0.3, first_axis)
    steepest = ball.steepest(gradient)
    others = [ball.unit(noise(seed)) for seed in range(2, 40)] + [ball.unit(gradient)]
    for k, g in enumerate(vectors(gradient, first_axis)):
        best = vectors(steepest, first_axis)[k]
        assert length(best, norm) == pytest.approx(1, rel=1e-12)
        for other in others:
            assert vectors(other, first_axis)[k] @ g <= best @ g + 1e-12


@both_balls
@both_groups
def test_projection_shortens_what_is_too_long_and_nothing_else(norm, first_axis) -> None:
    x = noise()
    lengths = sorted(length(v, norm) for v in vectors(x, first_axis))
    radius = (lengths[0] + lengths[-1]) / 2
    inside = BALLS[norm](radius, first_axis).project(x)
    for v, p in zip(vectors(x, first_axis), vectors(inside, first_axis), strict=True):
        if length(v, norm) <= radius:
            assert torch.equal(p, v)
        else:
            assert length(p, norm) == pytest.approx(radius, rel=1e-12)
            nearest = v * radius / length(v, norm) if norm == "l2" else v.clamp(-radius, radius)
            torch.testing.assert_close(p, nearest)


@both_balls
@both_groups
def test_radius_0_leaves_no_noise(norm, first_axis) -> None:
    ball = BALLS[norm](0.0, first_axis)
    assert torch.equal(ball.project(noise()), torch.zeros(BATCH, SEQ, EMBED, dtype=torch.float64))
    for ascent in (Leap(ball), SteepestStep(ball, 0.1), UnitStep(ball, 0.1)):
        (reached,) = ascent((noise(),), (noise(2),))
        assert reached.abs().max() == 0


@both_balls
@both_groups
@pytest.mark.parametrize("size", [1e-30, 1e30], ids=["tiny", "huge"])
def test_gradients_of_any_size_have_a_direction(norm, first_axis, size) -> None:
    """Squares of them would under- or overflow in float32."""
    ball = BALLS[norm](0.3, first_axis)
    small = noise().float()
    torch.testing.assert_close(ball.unit(small * size), ball.unit(small))
    torch.testing.assert_close(ball.steepest(small * size), ball.steepest(small))


@both_balls
@pytest.mark.parametrize("bad", [0.0, math.inf, math.nan])
def test_a_gradient_that_is_unusable_moves_nothing(norm, bad) -> None:
    gradient = noise()
    gradient[1, 2] = bad
    for ball in (BALLS[norm](0.3, -1), BALLS[norm](0.3, 1)):
        for direction in (ball.unit(gradient), ball.steepest(gradient)):
            assert direction.isfinite().all()
            assert direction[1, 2].abs().max() == 0
            assert direction[0].abs().max() > 0


def test_ascents_take_the_step_they_say() -> None:
    start, gradient = noise(size=0.01), noise(2)
    far = L2Ball(1e9)
    unit = gradient / gradient.flatten(1).norm(dim=1)[:, None, None]
    for ascent in (SteepestStep(far, 0.3), UnitStep(far, 0.3)):
        torch.testing.assert_close(ascent((start,), (gradient,))[0], start + 0.3 * unit)
    torch.testing.assert_close(Leap(L2Ball(0.7))((start,), (gradient,))[0], 0.7 * unit)
    sign = SteepestStep(LInfBall(1e9), 0.3)((start,), (gradient,))[0]
    torch.testing.assert_close(sign, start + 0.3 * gradient.sign())
    largest = gradient.abs().flatten(1).amax(1)[:, None, None]
    scaled = UnitStep(LInfBall(1e9), 0.3)((start,), (gradient,))[0]
    torch.testing.assert_close(scaled, start + 0.3 * gradient / largest)
    short = SteepestStep(L2Ball(0.2), 0.3)((start,), (gradient,))[0]
    torch.testing.assert_close(
        short.flatten(1).norm(dim=1), torch.full((BATCH,), 0.2, dtype=torch.float64)
    )


@pytest.mark.parametrize(
    "init",
    [zero, Normal(0.3), Uniform(L2Ball(0.3)), Uniform(LInfBall(0.3))],
    ids=["zero", "normal", "uniform-l2", "uniform-linf"],
)
def test_first_noise_spares_the_padding_and_is_open_for_a_gradient(init) -> None:
    (first,) = init(space(torch.float32), torch.Generator().manual_seed(1))
    allowed = space().allowed[0]
    assert first.dtype == torch.float32
    assert first.requires_grad
    assert first.is_leaf
    assert first[~allowed].abs().max() == 0
    assert (init is zero) == (first[allowed].abs().max().item() == 0)


def test_uniform_noise_has_freelbs_size() -> None:
    """U(-1, 1) size / sqrt(entries), entries being those of the sentence without padding."""
    (first,) = Uniform(L2Ball(0.3))(space(), torch.Generator().manual_seed(1))
    for sentence, words in zip(first.detach(), (7, 5, 1), strict=True):
        assert sentence.norm() <= 0.3
        bound = 0.3 / math.sqrt(words * EMBED)
        assert 0.6 * bound < sentence.abs().max() <= bound
    (cube,) = Uniform(LInfBall(0.3))(space(), torch.Generator().manual_seed(1))
    assert 0.29 < cube.abs().max() <= 0.3


def test_normal_noise_has_its_standard_deviation() -> None:
    wide = NoiseSpace((torch.ones(20, 50, 50, dtype=torch.bool),))
    (first,) = Normal(0.3)(wide, torch.Generator().manual_seed(1))
    assert first.std().item() == pytest.approx(0.3, rel=0.02)
    assert abs(first.mean().item()) < 0.01


def test_projected_noise_is_a_fresh_leaf() -> None:
    start = noise().requires_grad_()
    (inside,) = projected(L2Ball(0.3), (2 * start,))
    assert inside.is_leaf
    assert inside.requires_grad
    assert inside.flatten(1).norm(dim=1).max() <= 0.3 + 1e-12


@pytest.mark.parametrize("rounding", [None, torch.tensor(1e-9)])
def test_noise_that_grows_is_seen_fully_grown(rounding) -> None:
    """Where only the slope is asked for; how it enters the model otherwise is its share."""
    whole = NoiseSpace(space().allowed, rounding=rounding, unit=torch.tensor(2.0))
    (drawn,) = whole.draw(lambda empty, _: empty.fill_(0.3))
    for growth in (1.0, 0.25):
        grown = whole._replace(growth=growth)
        (entering,), (seen,) = grown.in_model((drawn,)), grown.in_model(grown.seen((drawn,)))
        torch.testing.assert_close(entering, 2.0 * growth * drawn)
        torch.testing.assert_close(seen, 2.0 * drawn)
    none = whole._replace(growth=0.0)
    (seen,) = none.in_model(none.seen((drawn,)))
    assert torch.equal(seen, torch.zeros_like(drawn))
