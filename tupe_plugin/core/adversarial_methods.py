"""The adversarial methods by name: for each what it takes by default, and how it is made.

    adversary, site = make_adversary("pgd", epsilon=0.5), make_noise_site("pgd", model)

A method is one entry of `METHODS`; parser, help, refusals, benchmarks and tests read that table.
What each setting is stands in `adversarial_settings.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import nn

from .adversarial import FGM, PGD, SMART, Adversary, AttentionAdversary, FreeLB
from .adversarial_settings import BOUNDS, DIVERGENCES, WORD_UNITS, Settings
from .divergence import Divergence, kl_divergence, squared_difference
from .encoder_view import EncoderView
from .noise_sites import AttentionNoise, NoiseSite, WordNoise
from .perturbation import (
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

Wrap = Callable[[Divergence], Divergence]
"""What a criterion makes of a divergence before a method gets it."""

SENTENCE, LAST_AXIS = 1, -1  # first axis of the vectors whose length counts


class Method(NamedTuple):
    """An entry of the table."""

    make: Callable[[Settings, int, Divergence], Adversary]
    first_axis: int
    """Noise is measured from this axis on: of a whole sentence, or of a token or query."""
    defaults: Settings
    """A setting that is missing here is not used by the method, and refused."""
    climbs_divergence: bool = False
    """It climbs a divergence, which has no slope where there is no noise."""


def make_adversary(
    method: str, *, regression: bool = False, wrap: Wrap = lambda d: d, **settings: Any
) -> Adversary:
    """A method with these settings, and its defaults for all others.

    Args:
        method: one of `METHODS`.
        regression: predictions are numbers, not logits.
        wrap: what to make of the divergence first.
        **settings: see the table of `adversarial_settings.py`.

    Raises:
        ValueError: there is no such method, or it does not take a setting or its value.
    """
    entry, settings = entry_of(method), settings_of(method, settings)
    divergence: Divergence = kl_divergence
    if regression:
        divergence = squared_difference
    elif "divergence" in settings:
        divergence = DIVERGENCES[settings["divergence"]]
    adversary = entry.make(settings, entry.first_axis, wrap(divergence))
    adversary.unit = settings["unit"]
    return adversary


def make_noise_site(method: str, model: nn.Module | EncoderView, **settings: Any) -> NoiseSite:
    """Where the noise of a method with these settings enters the encoder of a model.

    Raises:
        UnknownEncoderError: no table of ``views/`` fits the model.
        ValueError: there is no such method, it does not take a setting or its value, or the
            encoder lacks a layer.
    """
    settings = settings_of(method, settings)
    relative = settings["unit"] == "relative"
    if "site" not in settings:
        return WordNoise(model, unit=WORD_UNITS[settings["norm"]] if relative else None)
    layers = settings["layers"]
    return AttentionNoise(
        model, settings["site"], layers=None if layers == "all" else layers, shared=relative
    )


def settings_of(
    method: str, given: Mapping[str, Any], *, spell: Callable[[str], str] = str
) -> Settings:
    """Every setting that the method uses, with its default where none is given.

    Args:
        method: one of `METHODS`.
        given: settings with their values.
        spell: what errors call a setting, or ``method``.

    Raises:
        ValueError: there is no such method, or it does not take a setting or its value.
    """
    entry, called = entry_of(method, spell=spell), f"{spell('method')} {method}"
    for name, value in given.items():
        if name not in entry.defaults:
            raise ValueError(
                f"{spell(name)} is not used by {called}: leave it out "
                f"({method} takes {', '.join(map(spell, entry.defaults))})"
            )
        problem = BOUNDS[name].problem(value) if name in BOUNDS else None
        if problem is not None:
            raise ValueError(f"{spell(name)} {value}: {problem}")
    settings = {**entry.defaults, **given}
    for name, value in settings.items():
        while isinstance(value, dict):  # a default that depends on the unit, or the site
            value = next(
                value[of] for of in (settings["unit"], settings.get("site")) if of in value
            )
        settings[name] = value
    if settings.get("init") == "zero" and entry.climbs_divergence:
        raise ValueError(
            f"{spell('init')} zero: {called} follows the slope of a divergence, which has none "
            "where there is no noise; give normal or uniform"
        )
    if settings.get("init") == "zero":
        if "init_size" in given:
            raise ValueError(
                f"{spell('init_size')} is not used with {spell('init')} zero: leave one of them out"
            )
        del settings["init_size"]
    return settings


def entry_of(method: str, *, spell: Callable[[str], str] = str) -> Method:
    """The entry of a method.

    Raises:
        ValueError: there is none of this name.
    """
    if method not in METHODS:
        raise ValueError(f"{spell('method')} {method}: give one of {', '.join(METHODS)}")
    return METHODS[method]


def _ball(settings: Settings, first_axis: int) -> Ball:
    return BALLS[settings["norm"]](settings["epsilon"], first_axis)


def _init(settings: Settings, first_axis: int) -> Init:
    if settings["init"] == "zero":
        return zero
    size = settings["init_size"]
    if settings["init"] == "normal":
        return Normal(size)
    return Uniform(BALLS[settings["norm"]](size, first_axis))


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
            "epsilon": {
                "relative": {"weights": 0.03, "logits": 1.0},
                "absolute": {"weights": 0.003, "logits": 0.1},
            },
            "steps": 1,
            "norm": "l2",
            "weight": 1.0,
            "init": "normal",
            "init_size": {
                "relative": {"weights": 0.1, "logits": 1.0},
                "absolute": {"weights": 0.01, "logits": 0.1},
            },
            "site": "weights",
            "layers": "all",
            "unit": "relative",
        },
        climbs_divergence=True,
    ),
    "fgm": Method(
        _fgm,
        SENTENCE,
        {
            "epsilon": {"relative": 0.01, "absolute": 1.0},
            "norm": "l2",
            "weight": 1.0,
            "unit": "relative",
        },
    ),
    "pgd": Method(
        _pgd,
        SENTENCE,
        {
            "epsilon": {"relative": 0.01, "absolute": 1.0},
            "step_size": {"relative": 0.003, "absolute": 0.3},
            "steps": 3,
            "norm": "l2",
            "weight": 1.0,
            "init": "zero",
            "init_size": {"relative": 0.01, "absolute": 1.0},
            "unit": "relative",
        },
    ),
    "freelb": Method(
        _freelb,
        SENTENCE,
        {
            "epsilon": {"relative": 0.03, "absolute": 0.6},
            "step_size": {"relative": 0.005, "absolute": 0.1},
            "steps": 3,
            "norm": "l2",
            "init": "uniform",
            "init_size": {"relative": 0.01, "absolute": 0.2},
            "unit": "relative",
        },
    ),
    "smart": Method(
        _smart,
        LAST_AXIS,
        {
            "epsilon": {"relative": 0.02, "absolute": 1e-3},
            "step_size": {"relative": 0.02, "absolute": 1e-3},
            "steps": 1,
            "norm": "linf",
            "weight": 1.0,
            "divergence": "symmetric",
            "init": "normal",
            "init_size": {"relative": 2e-4, "absolute": 1e-5},
            "unit": "relative",
        },
        climbs_divergence=True,
    ),
}
DEFAULTS = {name: method.defaults for name, method in METHODS.items()}
NAMES = sorted({name for defaults in DEFAULTS.values() for name in defaults})
