"""``--optimizer adam`` with ``--layer-decay``; the equations are in ``core/layer_decay.py``.

Takes the place of fairseq's optimizer of that name, which does all of the work: Adam on CPU, apex's
fused one on a GPU that has it.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fairseq.optim import OPTIMIZER_REGISTRY, adam, register_optimizer
from torch import nn

from ..core.bounds import Number, Text, check_options, option
from .layer_decay import LayerDecayConfig, apply_group_rates, check_layer_decay, groups_by_depth

del OPTIMIZER_REGISTRY["adam"]


BETA = Number(0, 1, open_above=True)


def parse_betas(text: str) -> tuple[float, float]:
    """`(0.9, 0.999)`.

    Raises:
        ValueError: it is no pair, or a beta is out of bounds.
    """
    try:
        betas = ast.literal_eval(text)
    except (MemoryError, RecursionError, SyntaxError, ValueError):
        betas = None
    if not isinstance(betas, (list, tuple)) or len(betas) != 2 or any(map(BETA.problem, betas)):
        raise ValueError(f"give two numbers, such as '(0.9, 0.999)', each {BETA}")
    return betas[0], betas[1]


@dataclass
class LayerDecayAdamConfig(LayerDecayConfig, adam.FairseqAdamConfig):
    """fairseq's options of Adam, with bounds, and the decay."""

    adam_betas: Any = option(  # noqa: RUF009
        (0.9, 0.999), Text(parse_betas, f"two numbers, each {BETA}"), "betas of Adam"
    )
    adam_eps: float = option(1e-8, Number(0, 1e9), "epsilon of Adam")
    weight_decay: float = option(0.0, Number(0, 10_000), "weight decay")


# The name of the class is fairseq's, because it goes into checkpoints: a run that was begun without
# this class can be resumed with it, and the other way round.
@register_optimizer("adam", dataclass=LayerDecayAdamConfig)
class FairseqAdam(adam.FairseqAdam):
    """Adam; with ``--layer-decay``, each depth at its own rate."""

    def __init__(self, cfg: LayerDecayAdamConfig, params: Sequence[nn.Parameter]):
        self.check_options(cfg)
        super().__init__(cfg, groups_by_depth(cfg, params))
        apply_group_rates(self._optimizer)

    @staticmethod
    def check_options(cfg: LayerDecayAdamConfig) -> None:
        """Refuse a decay that is out of bounds, or cannot be had.

        Raises:
            ValueError: there is such an option.
        """
        check_options(cfg, LayerDecayAdamConfig)
        check_layer_decay(cfg)
