# ruff: noqa: UP045  (fairseq reads Optional[...] of a config dataclass, not X | None)
"""``--mfac-parameters`` and ``--mfac-rest``: what enters the window; what becomes of the others.

fairseq hands an optimizer parameters without names; as for ``--layer-decay``, they are told apart
by their order.  What is frozen is so before there is a trainer (``compat/trainer_parts.py``).
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Optional

from fairseq.dataclass import ChoiceEnum
from torch import nn

from ..core.bounds import LEARNING_RATE, Number, Text, flag, option
from ..core.mfac_parameters import (
    ADAM,
    ALL,
    PARAMETERS,
    RESTS,
    freeze_outside_of_window,
    outside_of_window,
)
from .adam import BETA, parse_betas
from .layer_decay import LayerDecayConfig, check_names_reach, groups_by_depth, trained_parameters

logger = logging.getLogger(__name__)

_OF_ADAM = ("mfac_rest_lr", "adam_betas", "adam_eps")


@dataclass
class MfacParametersConfig(LayerDecayConfig):
    mfac_parameters: ChoiceEnum(PARAMETERS) = field(  # type: ignore[valid-type]
        default=ALL,
        metadata={
            "help": "what enters the window: all that trains; all but what stands before the "
            "first layer; or bias terms and heads. The window takes memory for these alone"
        },
    )
    mfac_rest: Optional[ChoiceEnum(RESTS)] = field(  # type: ignore[valid-type]
        default=None,
        metadata={"help": "what becomes of the others: they train with Adam (the default), or not"},
    )
    mfac_rest_lr: Optional[float] = option(
        None,
        LEARNING_RATE,
        "rate of Adam where M-FAC's is --lr; it rises and falls with that (default: --lr)",
    )
    adam_betas: Optional[str] = option(
        None,
        Text(parse_betas, f"two numbers, each {BETA}"),
        "betas of --mfac-rest adam (default: (0.9, 0.999))",
    )
    adam_eps: Optional[float] = option(
        None, Number(0, 1e9), "epsilon of --mfac-rest adam (default: 1e-8)"
    )


def check_mfac_parameters(cfg: MfacParametersConfig) -> None:
    """Refuse options that would do nothing, and what cannot tell parameters apart.

    Raises:
        ValueError: such an option is given.
    """
    choice = f"--mfac-parameters {cfg.mfac_parameters}"
    if str(cfg.mfac_parameters) == ALL:
        given = [name for name in ("mfac_rest", *_OF_ADAM) if getattr(cfg, name, None) is not None]
        if given:
            others = " or ".join(name for name in PARAMETERS if name != ALL)
            raise ValueError(
                f"{flag(given[0])} is for what does not enter the window, and all does: give "
                f"--mfac-parameters {others}, or leave {flag(given[0])} out"
            )
    elif not _adam_trains_the_rest(cfg):
        given = [name for name in _OF_ADAM if getattr(cfg, name, None) is not None]
        if given:
            raise ValueError(
                f"{flag(given[0])} is for --mfac-rest {ADAM}, and --mfac-rest {cfg.mfac_rest} "
                f"trains nothing: leave {flag(given[0])} out"
            )
    else:
        check_names_reach(cfg, choice)
        if cfg.mfac_rest_lr is not None and not cfg.lr[0] > 0:
            raise ValueError(f"--mfac-rest-lr goes with an --lr above 0, not {cfg.lr[0]}")


def freeze_rest(cfg: MfacParametersConfig, model: nn.Module) -> None:
    """``--mfac-rest frozen``, for a model that no trainer has yet.

    Raises:
        UnknownEncoderError: no table of ``views/`` fits the model.
    """
    if str(cfg.mfac_parameters) != ALL and not _adam_trains_the_rest(cfg):
        freeze_outside_of_window(model, str(cfg.mfac_parameters))


def groups_by_window(cfg: MfacParametersConfig, params: Sequence[nn.Parameter]) -> Sequence[Any]:
    """What to give to MFAC: the parameters as they are, or groups, in the order of the parameters.

    Raises:
        ValueError: no parameter is known by its name, or none is outside of the window.
    """
    groups = groups_by_depth(cfg, params)
    if str(cfg.mfac_parameters) == ALL or not _adam_trains_the_rest(cfg):
        return groups
    choice = f"--mfac-parameters {cfg.mfac_parameters}"
    trained, model = trained_parameters(params, choice)
    outside = outside_of_window(model, str(cfg.mfac_parameters))
    if not outside.intersection(trained):
        raise ValueError(
            f"{choice}: nothing of what trains is outside of the window (is it frozen, as by "
            "--bitfit-terms?): leave --mfac-parameters out"
        )
    inside = [param not in outside for param in trained]
    counts = [
        sum(param.numel() for param, enters in zip(trained, inside, strict=True) if enters == there)
        for there in (True, False)
    ]
    rate = cfg.lr[0] if cfg.mfac_rest_lr is None else cfg.mfac_rest_lr
    logger.info(
        f"{choice}: {counts[0]:,} parameters are in the window; {counts[1]:,} train with Adam "
        f"at a rate of {rate:g}"
    )
    adam: dict[str, Any] = {}
    if cfg.adam_betas is not None:
        adam["betas"] = parse_betas(cfg.adam_betas)
    if cfg.adam_eps is not None:
        adam["eps"] = cfg.adam_eps
    return list(_split(groups, inside, rest_scale=rate / cfg.lr[0] if rate else 0.0, adam=adam))


def _split(
    groups: Sequence[Any], inside: Sequence[bool], *, rest_scale: float, adam: dict
) -> Iterator[dict[str, Any]]:
    """Neighbours of one group that are both in the window, or both not."""
    left = iter(inside)
    whole: list[dict[str, Any]] = [{"params": groups, "lr_scale": 1.0}]
    for group in groups if isinstance(groups[0], dict) else whole:
        pairs = [(next(left), param) for param in group["params"]]
        for in_window, run in groupby(pairs, key=lambda pair: pair[0]):
            yield {
                "params": [param for _, param in run],
                "in_window": in_window,
                "lr_scale": group["lr_scale"] * (1.0 if in_window else rest_scale),
                **adam,
            }


def _adam_trains_the_rest(cfg: MfacParametersConfig) -> bool:
    return cfg.mfac_rest is None or str(cfg.mfac_rest) == ADAM
