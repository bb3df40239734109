"""Each method on a padded batch of a small model, against the naive one sentence at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.references import adversarial as reference
from tupe_plugin.core.adversarial import (
    FGM,
    PGD,
    SMART,
    AdversarialLoss,
    AttentionAdversary,
    FreeLB,
    Pass,
    Passes,
)
from tupe_plugin.core.divergence import (
    kl_divergence,
    squared_difference,
    symmetric_kl_divergence,
)
from tupe_plugin.core.inner_gradients import KeptGradients, noise_gradient
from tupe_plugin.core.perturbation import (
    L2Ball,
    Leap,
    LInfBall,
    Noise,
    NoiseSpace,
    SteepestStep,
    UnitStep,
    zero,
)

BATCH, SEQ, EMBED, CLASSES = 3, 7, 5, 4
LENGTHS = (7, 4, 1)
CLOSE = {"rtol": 1e-9, "atol": 1e-10}


class Model:
    """Words (batch, seq, embed) are averaged by attention, summed up, and classified.

    Noise of the words' shape is on the words, of (batch, seq, seq) on the attention weights.
    """

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(1)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype)

        self.words = draw(BATCH, SEQ, EMBED)
        self.inner = draw(EMBED, EMBED).requires_grad_()
        self.outer = draw(EMBED, CLASSES).requires_grad_()
        self.targets = torch.tensor([2, 0, 3])
        self.valid = torch.arange(SEQ) < torch.tensor(LENGTHS)[:, None]
        self.calls: list[str] = []

    @property
    def parameters(self) -> list[Tensor]:
        return [self.inner, self.outer]

    def predict(self, words: Tensor, valid: Tensor, noise: Tensor | None) -> Tensor:
        on_words = noise is not None and noise.shape == words.shape
        if on_words and noise is not None:
            words = words + noise.to(words.dtype)
        logits = (words @ words.transpose(1, 2)).masked_fill(~valid[:, None, :], -torch.inf)
        weights = torch.softmax(logits, -1)
        if noise is not None and not on_words:
            weights = weights + noise.to(words.dtype)
        states = torch.tanh(weights @ words @ self.inner).masked_fill(~valid[:, :, None], 0.0)
        return states.sum(1) @ self.outer

    def run(self, noise: Noise | None, name: str) -> Pass:
        self.calls.append(name)
        logits = self.predict(self.words, self.valid, None if noise is None else noise[0])
        prediction = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return Pass(prediction, F.cross_entropy(prediction, self.targets, reduction="sum"))

    def passes(self) -> Passes:
        return Passes(
            inner=lambda noise: self.run(noise, "inner"),
            last=lambda noise: self.run(noise, "last"),
            parameters=(self.inner, self.outer),
        )

    def space(self, site: str) -> NoiseSpace:
        last = EMBED if site == "words" else SEQ
        allowed = self.valid[:, :, None].expand(-1, -1, last)
        if site == "weights":
            allowed = allowed & self.valid[:, None, :]
        return NoiseSpace((allowed,), torch.promote_types(self.words.dtype, torch.float32))

    def sentence(self, row: int) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """Loss and prediction of one sentence without its padding, as functions of the noise."""
        length = LENGTHS[row]
        words = self.words[row : row + 1, :length]
        valid = self.valid[row : row + 1, :length]

        def predict(noise: Tensor) -> Tensor:
            return self.predict(words, valid, noise.unsqueeze(0))[0]

        return lambda noise: F.cross_entropy(predict(noise), self.targets[row]), predict


class Given(NamedTuple):
    """Initial noise that the naive reference knows, too."""

    noise: Tensor

    def __call__(self, space: NoiseSpace, generator: torch.Generator) -> Noise:
        return space.draw(lambda *_: self.noise.to(space.dtype).clone())


def start_noise(site: str, size: float = 0.2) -> Tensor:
    shape = (BATCH, SEQ, EMBED) if site == "words" else (BATCH, SEQ, SEQ)
    generator = torch.Generator().manual_seed(7)
    return size * torch.randn(*shape, dtype=torch.float64, generator=generator)


def own(noise: Tensor, row: int) -> Tensor:
    length = LENGTHS[row]
    return noise[row, :length] if noise.size(-1) == EMBED else noise[row, :length, :length]


def step(adversary, model: Model, site: str = "words") -> AdversarialLoss:
    return adversary(model.passes(), model.space(site), torch.Generator())


def assert_loss_and_gradient(ours: AdversarialLoss, expected: Tensor, model: Model) -> None:
    torch.testing.assert_close(ours.total, expected, **CLOSE)
    for got, want in zip(
        torch.autograd.grad(ours.total, model.parameters),
        torch.autograd.grad(expected, model.parameters),
        strict=True,
    ):
        torch.testing.assert_close(got, want, **CLOSE)


def each_sentence(function: Callable[[int], Tensor]) -> Tensor:
    return torch.stack([function(row) for row in range(BATCH)]).sum()


def nothing(row: int) -> Tensor:
    return torch.zeros(LENGTHS[row], EMBED, dtype=torch.float64)


# ---- against the naive reference


def test_fgm() -> None:
    model = Model()
    ours = step(FGM(ascent=Leap(L2Ball(0.7)), weight=0.6), model)
    expected = each_sentence(
        lambda row: reference.fgm(model.sentence(row)[0], nothing(row), epsilon=0.7, weight=0.6)
    )
    assert_loss_and_gradient(ours, expected, model)
    assert model.calls == ["inner", "last"]


@pytest.mark.parametrize("random", [False, True], ids=["from zero", "from random noise"])
@pytest.mark.parametrize("steps", [1, 3])
def test_pgd(random: bool, steps: int) -> None:
    """The third step leaves the ball of 0.7; so does the random start."""
    model, ball = Model(), L2Ball(0.7)
    start = start_noise("words") if random else torch.zeros(BATCH, SEQ, EMBED).double()
    ours = step(
        PGD(
            init=Given(start) if random else zero,
            ball=ball,
            ascent=SteepestStep(ball, 0.3),
            weight=0.6,
            steps=steps,
        ),
        model,
    )
    setting = {"epsilon": 0.7, "step_size": 0.3, "steps": steps, "weight": 0.6}
    expected = each_sentence(
        lambda row: reference.pgd(model.sentence(row)[0], own(start, row), **setting)
    )
    assert_loss_and_gradient(ours, expected, model)
    assert model.calls == ["inner"] * (steps + random) + ["last"]


def test_pgd_in_the_largest_entry() -> None:
    model, ball, start = Model(), LInfBall(0.15), start_noise("words")
    climb = SteepestStep(ball, 0.06)
    ours = step(PGD(init=Given(start), ball=ball, ascent=climb, weight=0.6, steps=3), model)
    setting = {"epsilon": 0.15, "step_size": 0.06, "steps": 3, "weight": 0.6}
    expected = each_sentence(
        lambda row: reference.pgd_linf(model.sentence(row)[0], own(start, row), **setting)
    )
    assert_loss_and_gradient(ours, expected, model)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_freelb(steps: int) -> None:
    model, ball, start = Model(), L2Ball(0.7), start_noise("words")
    ours = step(
        FreeLB(init=Given(start), ball=ball, ascent=UnitStep(ball, 0.3), steps=steps), model
    )
    setting = {"epsilon": 0.7, "step_size": 0.3, "steps": steps}
    expected = each_sentence(
        lambda row: reference.freelb(model.sentence(row)[0], own(start, row), **setting)
    )
    assert_loss_and_gradient(ours, expected, model)
    assert model.calls == ["inner"] * (steps - 1) + ["last"]


@pytest.mark.parametrize("steps", [1, 2])
def test_smart(steps: int) -> None:
    model, ball, start = Model(), LInfBall(0.25, -1), start_noise("words")
    ours = step(
        SMART(
            init=Given(start),
            ascent=UnitStep(ball, 0.2),
            divergence=symmetric_kl_divergence,
            weight=0.6,
            steps=steps,
        ),
        model,
    )
    setting = {"epsilon": 0.25, "step_size": 0.2, "steps": steps, "weight": 0.6}
    expected = each_sentence(
        lambda row: reference.smart(*model.sentence(row), own(start, row), **setting)
    )
    assert_loss_and_gradient(ours, expected, model)
    assert model.calls == ["inner"] * (steps + 1) + ["last"]


def test_attention() -> None:
    model, start = Model(), start_noise("weights", 0.01)
    ours = step(
        AttentionAdversary(
            init=Given(start), ascent=Leap(L2Ball(0.3, -1)), divergence=kl_divergence, weight=0.6
        ),
        model,
        "weights",
    )
    expected = each_sentence(
        lambda row: reference.attention(
            *model.sentence(row), own(start, row), epsilon=0.3, weight=0.6
        )
    )
    assert_loss_and_gradient(ours, expected, model)
    assert model.calls == ["inner", "inner", "last"]


# ---- what holds for all


def every_method(epsilon: float, *, divergence=None, weight: float = 0.6) -> dict:
    """name -> (method, site)."""
    words, token, query = L2Ball(epsilon), LInfBall(epsilon, -1), L2Ball(epsilon, -1)
    init, attention_init = Given(start_noise("words")), Given(start_noise("weights", 0.01))
    kl, symmetric = divergence or kl_divergence, divergence or symmetric_kl_divergence
    return {
        "attention": (
            AttentionAdversary(
                init=attention_init, ascent=Leap(query), divergence=kl, weight=weight
            ),
            "weights",
        ),
        "fgm": (FGM(ascent=Leap(words), weight=weight), "words"),
        "pgd": (
            PGD(init=zero, ball=words, ascent=SteepestStep(words, 0.3), weight=weight, steps=3),
            "words",
        ),
        "freelb": (
            FreeLB(init=init, ball=words, ascent=UnitStep(words, 0.3), steps=3),
            "words",
        ),
        "smart": (
            SMART(init=init, ascent=UnitStep(token, 0.2), divergence=symmetric, weight=weight),
            "words",
        ),
    }


METHODS = list(every_method(1.0))
every = pytest.mark.parametrize("name", METHODS)


@every
def test_zero_radius_is_the_plain_loss(name: str) -> None:
    model = Model()
    adversary, site = every_method(0.0)[name]
    ours = step(adversary, model, site)
    assert_loss_and_gradient(ours, model.run(None, "plain").loss, model)


@every
def test_noise_found_is_worse_than_noise_of_the_same_size_at_random(name: str) -> None:
    model = Model()
    adversary, site = every_method(0.5)[name]
    found: list[Noise] = []
    passes = model.passes()

    def last(noise: Noise | None) -> Pass:
        assert noise is not None
        found.append(noise)
        return passes.last(noise)

    adversary(passes._replace(last=last), model.space(site), torch.Generator())
    ((noise,),) = found
    assert not noise.requires_grad
    clean = model.run(None, "plain")

    def harm(noise: Tensor) -> float:
        noisy = model.run((noise,), "measured")
        if name in ("attention", "smart"):
            return kl_divergence(clean.prediction, noisy.prediction).sum().item()
        return noisy.loss.item()

    random = [harm(noise * _signs(noise, seed)) for seed in range(20)]
    assert harm(noise) > max(random)


def _signs(noise: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, noise.shape, generator=generator) * 2.0 - 1.0


@pytest.mark.parametrize("name", ["attention", "smart"])
def test_regression_takes_the_squared_difference(name: str) -> None:
    model = Model()
    adversary, site = every_method(0.5, divergence=squared_difference)[name]
    ours = step(adversary, model, site)
    assert ours.task is not None
    torch.testing.assert_close(ours.total, ours.task + 0.6 * ours.adversarial)
    assert ours.adversarial > 0


def test_attention_holds_the_clean_prediction_fixed_and_smart_does_not() -> None:
    for name, pulled in (("attention", False), ("smart", True)):
        model = Model()
        predictions: list[Tensor] = []
        passes = model.passes()

        def inner(noise: Noise | None, passes=passes, predictions=predictions) -> Pass:
            made = passes.inner(noise)
            predictions.append(made.prediction)
            return made

        adversary, site = every_method(0.5)[name]
        loss = adversary(passes._replace(inner=inner), model.space(site), torch.Generator())
        (gradient,) = torch.autograd.grad(loss.adversarial, predictions[0], allow_unused=True)
        assert (gradient is not None) == pulled


# ---- half precision


@pytest.mark.parametrize("size", [1e-12, 1e-6, 1.0, 1e6, 1e12])
def test_the_direction_survives_half_precision(size: float) -> None:
    """Whatever the size of the objective: float16 holds 6e-8 to 65504."""
    directions = []
    for dtype in (torch.float64, torch.float16):
        model = Model(dtype)
        noise = model.space("words").zeros()
        made = model.run(noise, "inner")
        gradient = noise_gradient(size * made.loss, made.prediction, noise, model.space("words"))
        directions.append(L2Ball(1.0).unit(gradient[0]).double())
    # float16's own rounding through three products
    torch.testing.assert_close(directions[1], directions[0], rtol=0.05, atol=5e-3)
    for sentence in directions[1]:
        assert sentence.norm().item() == pytest.approx(1, rel=1e-5)


def test_without_slope_there_is_no_noise_and_no_nan() -> None:
    model = Model(torch.float16)
    constant = model.run(None, "inner")
    noise = model.space("words").zeros()
    made = model.run(noise, "inner")
    apart = kl_divergence(constant.prediction.detach(), made.prediction).sum()
    (gradient,) = noise_gradient(apart, made.prediction, noise, model.space("words"))
    assert gradient.isfinite().all()
    assert Leap(L2Ball(0.5))(noise, (torch.zeros_like(gradient),))[0].abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_kept_gradients_are_those_of_the_sum_of_the_passes(dtype: torch.dtype) -> None:
    """Whatever their size: the inner backward of a loss of 1e-6 would underflow in float16."""
    coefficients, scale = (1e-6, 2e-6, 3e-6), 2.0**20
    exact = Model()
    total = sum(c * exact.run(None, "plain").loss for c in coefficients)
    expected = torch.autograd.grad(scale * total, exact.parameters)
    model = Model(dtype)
    kept = KeptGradients([*model.parameters, torch.zeros(2, requires_grad=True)])
    for coefficient in coefficients[:2]:
        made = model.run(None, "inner")
        assert kept.backward(coefficient * made.loss, made.prediction) == ()
    last = coefficients[2] * model.run(None, "last").loss
    term = kept.term(last)
    assert term.item() == 0
    gradients = torch.autograd.grad(scale * (last + term), model.parameters)
    tolerance = (
        {"rtol": 1e-10, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 0.02, "atol": 0.01}
    )
    for ours, theirs in zip(gradients, expected, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), theirs, **tolerance)


@every
def test_steps_in_half_precision_are_those_of_float64(name: str) -> None:
    losses = []
    for dtype in (torch.float64, torch.float16):
        model = Model(dtype)
        adversary, site = every_method(0.5)[name]
        losses.append(step(adversary, model, site).total.item())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
