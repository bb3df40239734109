# ruff: noqa: UP045  (fairseq reads Optional[...] of a config dataclass, not X | None)
"""``--optimizer mfac``: natural-gradient steps from a window of past gradients.

The equations are in ``core/mfac.py`` and ``core/fisher_window.py``. Gradients reach the optimizer
without the loss scale, averaged and clipped as the trainer does it. With several workers each holds
a part of the window; the one that writes checkpoints gathers it then.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

import torch
import torch.distributed as dist
from fairseq.dataclass import ChoiceEnum
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II

from ..core.bounds import LEARNING_RATE, Each, Number, Text, Whole, check_options, option
from ..core.mfac import MFAC
from .layer_decay import apply_group_rates, check_layer_decay
from .mfac_parameters import (
    MfacParametersConfig,
    check_mfac_parameters,
    freeze_rest,
    groups_by_window,
)

logger = logging.getLogger(__name__)

WINDOW_DTYPES = ("float32", "bfloat16", "float16")


def _device(name: str) -> torch.device:
    try:
        return torch.device(name)
    except RuntimeError:
        raise ValueError("give a device, such as cpu or cuda:1") from None


@dataclass
class MfacConfig(MfacParametersConfig):
    # Each step solves with products of all pairs of gradients: at the bound, 2 GB in float64.
    mfac_num_grads: int = option(
        1024,
        Whole(1, 16_384),
        "gradients in the window (m): more see more curvature, at m times the memory and time of "
        "a gradient; published: 512 for MRPC and STS-B, else 1024",
    )
    mfac_damping: float = option(
        1e-6,
        Number(1e-12, 1e12),
        "added to the diagonal of the Fisher matrix; smaller means longer steps where the window "
        "has seen little",
    )
    mfac_density: float = option(
        1.0,
        Number(0, 1, open_below=True),
        "share of each gradient that enters the window, its largest entries; the others wait and "
        "come in later. 1 is all; 0.01 takes 1/50 to 1/70 of the memory (EFCP, arXiv 2306.06098)",
    )
    mfac_momentum: float = option(
        0.0, Number(0, 1, open_above=True), "running average of the update; 0 is none"
    )
    mfac_decoupled_weight_decay: float = option(
        0.0,
        Number(0, 10_000),
        "shrink the weights by the learning rate times this, apart from the step, as AdamW; "
        "--weight-decay is the authors', which enters the window",
    )
    mfac_dtype: ChoiceEnum(WINDOW_DTYPES) = field(  # type: ignore[valid-type]
        default="float32",
        metadata={
            "help": "type of the gradients in the window; the halves take half the memory, and on "
            "a CPU more time"
        },
    )
    mfac_device: Optional[str] = option(
        None,
        Text(_device, "a device, such as cpu or cuda:1"),
        "where the window lives and its products are computed (default: with the parameters)",
    )
    mfac_no_save_window: bool = field(
        default=False,
        metadata={
            "help": "leave the window out of checkpoints: they are then of the model's size, and a "
            "resumed run begins with an empty window"
        },
    )
    weight_decay: float = option(
        0.0,
        Number(0, 10_000),
        "this times the weights is added to the gradient before it enters the window",
    )
    lr: list[float] = option(II("optimization.lr"), Each(LEARNING_RATE))  # noqa: RUF009
    use_bmuf: bool = II("optimization.use_bmuf")


class _ShardedMFAC(MFAC):
    """MFAC as fairseq's trainer calls it."""

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Gather the window, unless this is a worker that has crashed and writes crash.pt.

        The others may never come to the meeting then; crash.pt goes without the window.
        """
        if sys.exc_info()[0] is None:
            super().consolidate_state_dict(to)


@register_optimizer("mfac", dataclass=MfacConfig)
class FairseqMFAC(FairseqOptimizer):
    """M-FAC: F^-1 g, for F = damping I + the mean of g g^T over the last gradients."""

    def __init__(self, cfg: MfacConfig, params: Sequence[torch.nn.Parameter]):
        super().__init__(cfg)
        self.check_options(cfg)
        self._skipped = 0
        self._optimizer = _ShardedMFAC(
            groups_by_window(cfg, params),
            num_grads=cfg.mfac_num_grads,
            damping=cfg.mfac_damping,
            density=cfg.mfac_density,
            window_dtype=getattr(torch, str(cfg.mfac_dtype)),
            window_device=cfg.mfac_device,
            process_group=_workers(),
            save_window=not cfg.mfac_no_save_window,
            **self.optimizer_config,
        )
        apply_group_rates(self._optimizer)
        if cfg.mfac_no_save_window:
            logger.warning(
                "--mfac-no-save-window: a run resumed from these checkpoints begins with an empty "
                "window, and is not the run that an uninterrupted one would have been"
            )

    @staticmethod
    def check_options(cfg: MfacConfig) -> None:
        """Refuse what is out of bounds, or would give workers other gradients or parameters.

        Raises:
            ValueError: there is such an option.
        """
        check_options(cfg, MfacConfig)
        check_layer_decay(cfg)
        _check_parallelism(cfg)
        check_mfac_parameters(cfg)

    @staticmethod
    def prepare_model(cfg: MfacConfig, model: torch.nn.Module) -> None:
        """Freeze what ``--mfac-rest frozen`` says; `compat/trainer_parts.py` calls it."""
        freeze_rest(cfg, model)

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """Options that belong to a parameter group."""
        return {
            "lr": self.cfg.lr[0],
            "momentum": self.cfg.mfac_momentum,
            "weight_decay": self.cfg.weight_decay,
            "decoupled_weight_decay": self.cfg.mfac_decoupled_weight_decay,
        }

    @property
    def supports_memory_efficient_fp16(self) -> bool:
        return True

    @property
    def supports_flat_params(self) -> bool:
        return True

    def state_dict(self) -> dict[str, Any]:
        self._optimizer.num_skipped = max(self._optimizer.num_skipped, self._skipped)
        return super().state_dict()

    def load_state_dict(
        self, state_dict: dict[str, Any], optimizer_overrides: Optional[dict[str, Any]] = None
    ) -> None:
        super().load_state_dict(state_dict, optimizer_overrides)
        self._skipped = self._optimizer.num_skipped

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Any = None) -> torch.Tensor:
        """Clip, and log how exact the steps are, and how many gradients the window did not see.

        `mfac_error` is the share of its length by which rounding has moved a step, of the one
        measured last; `mfac_skipped` counts gradients that were not finite.

        Every update comes through here, whatever the precision. One that overflows ends here under
        --fp16 and --amp; if the optimizer is asked to step all the same, it counts by itself.
        """
        norm = super().clip_grad_norm(max_norm, aggregate_norm_fn)
        self._optimizer.num_skipped = max(self._optimizer.num_skipped, self._skipped)
        self._skipped = self._optimizer.num_skipped + int(not torch.isfinite(norm).all())
        metrics.log_scalar("mfac_skipped", self._skipped, weight=0, priority=710, round=0)
        error = self._optimizer.step_error
        if error is not None:
            metrics.log_scalar("mfac_error", float(f"{error:.1e}"), weight=0, priority=711)
        return norm


def _workers() -> Optional[dist.ProcessGroup]:
    """Those that share the window out; None if there is only this one."""
    if not dist.is_initialized() or distributed_utils.get_data_parallel_world_size() == 1:
        return None
    return distributed_utils.get_data_parallel_group()


def _check_parallelism(cfg: MfacConfig) -> None:
    if len(cfg.lr) != 1:
        raise ValueError(f"--optimizer mfac takes one --lr, got {list(cfg.lr)}")
    if cfg.use_bmuf:
        raise ValueError("--optimizer mfac does not go with --use-bmuf: workers must step alike")
    if str(cfg.ddp_backend) in ("fully_sharded", "slowmo"):
        raise ValueError(
            f"--optimizer mfac does not go with --ddp-backend {cfg.ddp_backend}: it needs whole "
            "gradients, the same on every worker; use c10d (M-FAC shares its window out itself)"
        )
    if str(cfg.zero_sharding) != "none":
        raise ValueError(
            f"--optimizer mfac does not go with --zero-sharding {cfg.zero_sharding}: "
            "M-FAC shares its window out itself"
        )
