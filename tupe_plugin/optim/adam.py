"""``--optimizer adam`` with ``--layer-decay``; the equations are in ``core/layer_decay.py``.

Takes the place of fairseq's optimizer of that name, which does all of the work: Adam on CPU, apex's
fused one on a GPU that has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fairseq.optim import OPTIMIZER_REGISTRY, adam, register_optimizer
from torch import nn

from ..core.bounds import check_options
from .layer_decay import LayerDecayConfig, apply_layer_decay, check_layer_decay, groups_by_depth

del OPTIMIZER_REGISTRY["adam"]


@dataclass
class LayerDecayAdamConfig(LayerDecayConfig, adam.FairseqAdamConfig):
    """fairseq's options of Adam, and the decay."""


# The name of the class is fairseq's, because it goes into checkpoints: a run that was begun without
# this class can be resumed with it, and the other way round.
@register_optimizer("adam", dataclass=LayerDecayAdamConfig)
class FairseqAdam(adam.FairseqAdam):
    """Adam; with ``--layer-decay``, each depth at its own rate."""

    def __init__(self, cfg: LayerDecayAdamConfig, params: Sequence[nn.Parameter]):
        self.check_options(cfg)
        super().__init__(cfg, groups_by_depth(cfg, params))
        apply_layer_decay(cfg, self._optimizer)

    @staticmethod
    def check_options(cfg: LayerDecayAdamConfig) -> None:
        """Refuse a decay that is out of bounds, or cannot be had.

        Raises:
            ValueError: there is such an option.
        """
        check_options(cfg, LayerDecayAdamConfig)
        check_layer_decay(cfg)
