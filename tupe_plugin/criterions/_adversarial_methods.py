"""The methods of `--adv-method`: for each what it takes by default, and how it is made.

A method is one entry of `METHODS`; parser, help, refusals, benchmarks and tests read that table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..core.adversarial import FGM, PGD, SMART, Adversary, AttentionAdversary, FreeLB
from ..core.divergence import (
    Divergence,
    detached_symmetric_kl_divergence,
    kl_divergence,
    squared_difference,
    symmetric_kl_divergence,
)
from ..core.perturbation import (
    BALLS,
    Ball,
    Init,
    Leap,
    Normal,
    SteepestStep,
    Uniform,
    UnitStep,
    zero,
)

Settings = dict[str, Any]
"""Every option that a method uses, without its prefix, and a value for each."""
Wrap = Callable[[Divergence], Divergence]
"""What a criterion makes of a divergence before a method gets it."""

SENTENCE, LAST_AXIS = 1, -1  # first axis of the vectors whose length counts

#: `--adv-divergence`
DIVERGENCES: dict[str, Divergence] = {
    "symmetric": symmetric_kl_divergence,
    "detached": detached_symmetric_kl_divergence,
}


class Method(NamedTuple):
    """An entry of the table."""

    make: Callable[[Settings, int, Divergence], Adversary]
    first_axis: int
    """Noise is measured from this axis on: of a whole sentence, or of a token or query."""
    defaults: Settings
    """An option that is missing here is not used by the method, and refused."""
    parts_predictions: bool = False
    """It climbs a divergence, which has no slope where there is no noise."""


def make_adversary(
    method: str, settings: Settings, *, regression: bool = False, wrap: Wrap = lambda d: d
) -> Adversary:
    """The core object of the method, with the divergence that fits the task.

    Raises:
        ValueError: there is no such method.
    """
    entry = entry_of(method)
    divergence: Divergence = kl_divergence
    if regression:
        divergence = squared_difference
    elif "divergence" in settings:
        divergence = DIVERGENCES[settings["divergence"]]
    return entry.make(settings, entry.first_axis, wrap(divergence))


def entry_of(method: str) -> Method:
    """The entry of a method.

    Raises:
        ValueError: there is none of this name.
    """
    if method not in METHODS:
        raise ValueError(f"--adv-method {method}: give one of {', '.join(METHODS)}")
    return METHODS[method]


def _ball(settings: Settings, first_axis: int) -> Ball:
    return BALLS[settings["norm"]](settings["epsilon"], first_axis)


def _init(settings: Settings, first_axis: int) -> Init:
    size = settings["init_size"]
    inits: dict[str, Init] = {
        "zero": zero,
        "uniform": Uniform(BALLS[settings["norm"]](size, first_axis)),
        "normal": Normal(size),
    }
    return inits[settings["init"]]


def _attention(settings: Settings, first_axis: int, divergence: Divergence) -> Adversary:
    return AttentionAdversary(
        init=_init(settings, first_axis),
        ascent=Leap(_ball(settings, first_axis)),
        divergence=divergence,
        weight=settings["weight"],
        steps=settings["steps"],
    )


def _fgm(settings: Settings, first_axis: int, divergence: Divergence) -> Adversary:
    return FGM(ascent=Leap(_ball(settings, first_axis)), weight=settings["weight"])


def _pgd(settings: Settings, first_axis: int, divergence: Divergence) -> Adversary:
    ball = _ball(settings, first_axis)
    return PGD(
        init=_init(settings, first_axis),
        ball=ball,
        ascent=SteepestStep(ball, settings["step_size"]),
        weight=settings["weight"],
        steps=settings["steps"],
    )


def _freelb(settings: Settings, first_axis: int, divergence: Divergence) -> Adversary:
    ball = _ball(settings, first_axis)
    return FreeLB(
        init=_init(settings, first_axis),
        ball=ball,
        ascent=UnitStep(ball, settings["step_size"]),
        steps=settings["steps"],
    )


def _smart(settings: Settings, first_axis: int, divergence: Divergence) -> Adversary:
    ball = _ball(settings, first_axis)
    return SMART(
        init=_init(settings, first_axis),
        ascent=UnitStep(ball, settings["step_size"]),
        divergence=divergence,
        weight=settings["weight"],
        steps=settings["steps"],
    )


METHODS: dict[str, Method] = {
    "attention": Method(
        _attention,
        LAST_AXIS,
        {
            "epsilon": {"weights": 0.003, "logits": 0.1},
            "steps": 1,
            "norm": "l2",
            "weight": 1.0,
            "init": "normal",
            "init_size": {"weights": 0.01, "logits": 0.1},
            "site": "weights",
            "layers": "all",
        },
        parts_predictions=True,
    ),
    "fgm": Method(_fgm, SENTENCE, {"epsilon": 1.0, "norm": "l2", "weight": 1.0}),
    "pgd": Method(
        _pgd,
        SENTENCE,
        {
            "epsilon": 1.0,
            "step_size": 0.3,
            "steps": 3,
            "norm": "l2",
            "weight": 1.0,
            "init": "zero",
            "init_size": 1.0,
        },
    ),
    "freelb": Method(
        _freelb,
        SENTENCE,
        {
            "epsilon": 0.6,
            "step_size": 0.1,
            "steps": 3,
            "norm": "l2",
            "init": "uniform",
            "init_size": 0.2,
        },
    ),
    "smart": Method(
        _smart,
        LAST_AXIS,
        {
            "epsilon": 1e-3,
            "step_size": 1e-3,
            "steps": 1,
            "norm": "linf",
            "weight": 1.0,
            "divergence": "symmetric",
            "init": "normal",
            "init_size": 1e-5,
        },
        parts_predictions=True,
    ),
}
DEFAULTS = {name: method.defaults for name, method in METHODS.items()}
NAMES = sorted({name for defaults in DEFAULTS.values() for name in defaults})
