"""``--layer-decay`` for the optimizers of this folder: what they share.

fairseq hands an optimizer its parameters without names, or their float32 copies, in the order of
the model's; ``compat/trainer_parts.py`` says which model that is.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fairseq import optim as fairseq_optim
from fairseq.dataclass import FairseqDataclass
from omegaconf import II
from torch import nn
from torch.optim import Optimizer

from ..core.bounds import Number, option
from ..core.layer_decay import (
    decayed_groups,
    format_table,
    keep_groups_out_of_states,
    parameter_depths,
    runs_of_one_depth,
    scale_learning_rates,
)

logger = logging.getLogger(__name__)


@dataclass
class LayerDecayConfig(FairseqDataclass):
    layer_decay: float = option(
        1.0,
        Number(0, 1, open_below=True),
        "factor of the learning rate for each layer further down: the rate of the heads is --lr, "
        "of the last of n layers --lr times this squared, of the embeddings --lr times this to the "
        "power n + 2; 1 (the default) is plain training, published are 0.8 to 0.95",
    )
    ddp_backend: Any = II("distributed_training.ddp_backend")  # noqa: RUF009
    zero_sharding: Any = II("distributed_training.zero_sharding")  # noqa: RUF009
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")
    memory_efficient_fp16: bool = II("common.memory_efficient_fp16")
    fp16_no_flatten_grads: bool = II("common.fp16_no_flatten_grads")


def check_layer_decay(cfg: LayerDecayConfig) -> None:
    """Refuse what does not go with a decay.

    Raises:
        ValueError: such an option is given.
    """
    if cfg.layer_decay != 1:
        check_names_reach(cfg, f"--layer-decay {cfg.layer_decay}")


def check_names_reach(cfg: LayerDecayConfig, flag: str) -> None:
    """Refuse what keeps an optimizer from telling parameters apart, as ``flag`` asks it to.

    Raises:
        ValueError: such an option is given.
    """
    if str(cfg.ddp_backend) == "fully_sharded":
        raise ValueError(
            f"{flag} does not go with --ddp-backend fully_sharded, which makes one flat parameter "
            "of many; use c10d"
        )
    if str(cfg.zero_sharding) != "none":
        raise ValueError(
            f"{flag} does not go with --zero-sharding {cfg.zero_sharding}, which puts another "
            "optimizer in the place of one that tells parameters apart; leave --zero-sharding out"
        )
    if cfg.fp16 and not (cfg.bf16 or cfg.memory_efficient_fp16 or cfg.fp16_no_flatten_grads):
        raise ValueError(
            f"{flag}: with --fp16 fairseq makes one flat parameter of all, which can have one "
            "learning rate only; add --fp16-no-flatten-grads"
        )


def groups_by_depth(cfg: LayerDecayConfig, params: Sequence[nn.Parameter]) -> Sequence[Any]:
    """What to give to a torch optimizer: the parameters as they are, or groups with ``lr_scale``.

    Raises:
        ValueError: the depths of parameters are unknown.
    """
    decay = cfg.layer_decay
    if decay == 1:
        return params
    flag = f"--layer-decay {decay}"
    trained, model = trained_parameters(params, flag)
    depth_of = parameter_depths(model)
    depths = [depth_of[param] for param in trained]
    runs = runs_of_one_depth(params, depths)
    groups = decayed_groups(runs, decay)
    logger.info("%s: learning rates by depth\n%s", flag, format_table(runs, decay, lr=cfg.lr[0]))
    return groups


def trained_parameters(
    params: Sequence[nn.Parameter], flag: str
) -> tuple[list[nn.Parameter], nn.Module]:
    """Which parameters of the model these are, or are copies of, and that model.

    Raises:
        ValueError: it is not known.
    """
    model = getattr(fairseq_optim, "model_in_training", None)
    if model is None:
        raise ValueError(f"{flag}: only fairseq's trainer tells an optimizer what it trains")
    trained = [param for param in model.parameters() if param.requires_grad]
    if len(params) != len(trained):
        raise ValueError(
            f"{flag}: {len(params)} parameters train, and {len(trained)} of them are the model's; "
            "a criterion with parameters of its own does not go with it"
        )
    return trained, model


def apply_group_rates(optimizer: Optimizer) -> None:
    """Make an optimizer of groups with ``lr_scale`` step at the rate of each; else nothing."""
    if "lr_scale" in optimizer.param_groups[0]:
        scale_learning_rates(optimizer)
        keep_groups_out_of_states(optimizer)
