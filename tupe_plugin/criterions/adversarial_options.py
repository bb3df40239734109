# ruff: noqa: UP045  (fairseq reads Optional[...] of a config dataclass, not X | None)
"""The options `--adv-*`: what each method takes, what it takes by default, what it refuses."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

from fairseq.criterions.sentence_prediction import SentencePredictionConfig
from fairseq.dataclass import ChoiceEnum
from omegaconf import II
from torch import nn

from ..core.adversarial_methods import DEFAULTS, NAMES, make_noise_site
from ..core.adversarial_methods import settings_of as settings_of_method
from ..core.adversarial_settings import BOUNDS, DIVERGENCES, INITS, UNITS
from ..core.attention_access import SITES
from ..core.bounds import LOSS_WEIGHT, Text, Whole, check_options, flag, option
from ..core.encoder_view import view_of
from ..core.noise_sites import NoiseSite
from ..core.perturbation import BALLS
from ..core.rdrop import PUBLISHED


def _default(name: str) -> str:
    """The defaults of an option, as they stand in its help text."""
    values = {method: of[name] for method, of in DEFAULTS.items() if name in of}
    told = [f"{method} {_each_default(value)}" for method, value in values.items()]
    others = [method for method in DEFAULTS if method not in values]
    refused = f"; not used by {', '.join(others)}" if others else ""
    return f" (default: {', '.join(told)}{refused})"


def _each_default(value: Any, *of: str) -> str:
    if not isinstance(value, dict):
        return f"{value} ({' '.join(of)})" if of else f"{value}"
    return " or ".join(_each_default(inner, *of, name) for name, inner in value.items())


def _layers(text: str) -> list[int] | None:
    """Numbers of layers in order; None for ``all``."""
    if text == "all":
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(name.isdecimal() for name in names):
        raise ValueError("give all, or numbers of layers from 0 on, such as 0,5,11")
    return sorted(set(map(int, names)))


@dataclass
class AdversarialConfig(SentencePredictionConfig):
    adv_method: ChoiceEnum(list(DEFAULTS)) = field(  # type: ignore[valid-type]
        default="attention",
        metadata={
            "help": "noise in the attention whose divergence is added (attention), or on the word "
            "embeddings: one step (fgm), several (pgd), the mean loss over the steps (freelb), a "
            "small one whose divergence is added (smart)"
        },
    )
    adv_unit: Optional[ChoiceEnum(list(UNITS))] = field(  # type: ignore[valid-type]
        default=None,
        metadata={
            "help": "unit of all sizes of noise. relative: a word vector's root mean square length "
            "in the sentence (linf: that of an entry), or the attention of a query in all heads "
            "and layers together, so that a size means the same on every encoder; absolute: as in "
            "the papers" + _default("unit")
        },
    )
    adv_epsilon: Optional[float] = option(
        None,
        BOUNDS["epsilon"],
        "radius in --adv-unit: length of the noise of a sentence (fgm, pgd, freelb), of a token "
        "(smart), or of a query's attention (attention); 0 is plain training" + _default("epsilon"),
    )
    adv_step_size: Optional[float] = option(
        None,
        BOUNDS["step_size"],
        "length of a step towards more loss, in --adv-unit" + _default("step_size"),
    )
    adv_steps: Optional[int] = option(
        None, BOUNDS["steps"], "steps; each costs a forward and a backward" + _default("steps")
    )
    adv_norm: Optional[ChoiceEnum(list(BALLS))] = field(  # type: ignore[valid-type]
        default=None,
        metadata={"help": "how noise is measured" + _default("norm")},
    )
    adv_weight: Optional[float] = option(
        None, BOUNDS["weight"], "weight of what the noise adds to the loss" + _default("weight")
    )
    adv_divergence: Optional[ChoiceEnum(list(DIVERGENCES))] = field(  # type: ignore[valid-type]
        default=None,
        metadata={
            "help": "symmetric: KL both ways; detached: the authors' form, with the target of each "
            "way held fixed: the same value and half the gradient, so their weight W is W/2 with "
            "symmetric; no difference with --regression-target" + _default("divergence")
        },
    )
    adv_init: Optional[ChoiceEnum(list(INITS))] = field(  # type: ignore[valid-type]
        default=None,
        metadata={"help": "noise before the first step" + _default("init")},
    )
    adv_init_size: Optional[float] = option(
        None,
        BOUNDS["init_size"],
        "size of the first noise in --adv-unit: the largest length (uniform) or the standard "
        "deviation of each entry (normal; those of a sentence together are far longer)"
        + _default("init_size"),
    )
    adv_site: Optional[ChoiceEnum(list(SITES))] = field(  # type: ignore[valid-type]
        default=None,
        metadata={"help": "noise behind or before the softmax" + _default("site")},
    )
    adv_layers: Optional[str] = option(
        None,
        Text(_layers, "all, or numbers from 0 on, such as 0,5,11"),
        "layers whose attention has noise" + _default("layers"),
    )
    adv_warmup_updates: Optional[int] = option(
        None,
        Whole(0, 10**9),
        "updates over which the noise grows from 0 to its size; 0 is all of it from the first one "
        "(default: as the learning rate's warm-up)",
    )
    rdrop_alpha: float = option(
        0.0,
        LOSS_WEIGHT,
        "add R-Drop: every pass is made over the doubled batch, and its plain loss is R-Drop's "
        "with this weight; 0 leaves it out; " + PUBLISHED,
    )
    tpu: bool = II("common.tpu")
    ddp_backend: Any = II("distributed_training.ddp_backend")  # noqa: RUF009


def settings_of(cfg: AdversarialConfig) -> dict[str, Any]:
    """Every option that the method uses, with its default where none is given.

    Raises:
        ValueError: an option is out of bounds, or does not go with another, or there is no such
            method.
    """
    check_options(cfg, AdversarialConfig)
    if str(cfg.ddp_backend) == "fully_sharded":
        raise ValueError(
            "--criterion adversarial does not go with --ddp-backend fully_sharded: its inner "
            "passes need the whole model on each worker; use c10d or legacy_ddp"
        )
    given = {name: getattr(cfg, f"adv_{name}") for name in NAMES}
    given = {name: _plain(value) for name, value in given.items() if value is not None}
    return settings_of_method(str(cfg.adv_method), given, spell=lambda name: flag(f"adv_{name}"))


def make_site(method: str, settings: dict[str, Any], model: nn.Module) -> NoiseSite:
    """Where the noise of the method enters the encoder of this model.

    Raises:
        UnknownEncoderError: no table of `core/views/` fits the model.
        ValueError: `--adv-layers` names some that the encoder lacks, or its attention backend takes
            no noise at `--adv-site`.
    """
    view, text = view_of(model), settings.get("layers")
    for attention in view.attentions if "site" in settings else ():
        view.family.access.check(attention, settings["site"])
    if text is None:
        return make_noise_site(method, view, **settings)
    layers = _layers(text)
    try:
        return make_noise_site(
            method, view, **{**settings, "layers": "all" if layers is None else layers}
        )
    except ValueError as error:
        raise ValueError(f"--adv-layers {text}: {error}") from None


def _plain(value: Any) -> Any:
    """A choice of fairseq's as the string that it stands for."""
    return str(value) if isinstance(value, Enum) else value
