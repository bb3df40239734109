"""`--optimizer adam` and `mfac` as fairseq builds them: every setting, in every precision."""

from __future__ import annotations

import copy
import functools
from types import SimpleNamespace
from typing import Any, NamedTuple

import fairseq
import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.optim import AMPOptimizer, FP16Optimizer, MemoryEfficientFP16Optimizer, build_optimizer
from omegaconf import OmegaConf
from torch import nn

from tests.adapters.small_batches import dictionary
from tupe_plugin.models.tupe import TupeConfig, TupeModel
from tupe_plugin.optim.adam import FairseqAdam
from tupe_plugin.optim.mfac import FairseqMFAC
from tupe_plugin.registration import register

register(fairseq)

LAYERS, LR, DECAY, SCALE = 3, 0.125, 0.5, 128
FLAGS = {
    "adam": ("--adam-eps", "1e-20"),
    "mfac": ("--mfac-num-grads", "499", "--mfac-damping", "0.1"),
}
CLASSES = {"adam": FairseqAdam, "mfac": FairseqMFAC}
DECAYED = {"optimizer__layer_decay": DECAY}


class Precision(NamedTuple):
    wrapper: type | None
    settings: dict[str, Any]
    dtype: torch.dtype

    @property
    def rounding(self) -> float:
        """Relative; of parameters that are kept in it."""
        return {torch.float16: 2e-3, torch.bfloat16: 1e-2}.get(self.dtype, 1e-5)


FP16 = {"common__fp16": True, "common__fp16_init_scale": SCALE}
MEMORY = {"common__memory_efficient_fp16": True}
PRECISIONS = {
    "fp32": Precision(None, {}, torch.float32),
    "fp16": Precision(FP16Optimizer, FP16, torch.float16),
    "fp16 unflat": Precision(
        FP16Optimizer, {**FP16, "common__fp16_no_flatten_grads": True}, torch.float16
    ),
    "bf16": Precision(FP16Optimizer, {"common__bf16": True}, torch.bfloat16),
    "fp16 memory": Precision(MemoryEfficientFP16Optimizer, {**FP16, **MEMORY}, torch.float16),
    "bf16 memory": Precision(
        MemoryEfficientFP16Optimizer,
        {"common__bf16": True, "common__memory_efficient_bf16": True},
        torch.bfloat16,
    ),
    "amp": Precision(AMPOptimizer, {"common__amp": True}, torch.float32),
}


@functools.cache
def configuration(name: str, *flags: str, **overrides: object) -> Any:
    """What fairseq-train makes of a command line, with some values set: `common__fp16=True`.

    To be read only: it takes long, so that it is made once.
    """
    if overrides:
        cfg = copy.deepcopy(configuration(name, *flags))
    else:
        parser = options.get_training_parser()
        line = ["data", "--task", "masked_lm", "--arch", "tupe_tiny", "--lr", str(LR)]
        line += ["--optimizer", name, *FLAGS.get(name, ()), *flags]
        cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, line))
    for key, value in overrides.items():
        OmegaConf.update(cfg, key.replace("__", "."), value)
    return cfg


def build_model(dtype: torch.dtype = torch.float32, **settings: Any) -> TupeModel:
    """Small, with a head; all parameters are 0, so that what a step adds is what they are."""
    return in_training(copy.deepcopy(_built_once(**settings)).to(dtype))


@functools.cache
def _built_once(**settings: Any) -> TupeModel:
    cfg = TupeConfig(
        encoder_layers=LAYERS,
        encoder_embed_dim=10,
        encoder_ffn_embed_dim=7,
        encoder_attention_heads=2,
        max_positions=5,
        encoder_normalize_before=True,
        embedding_normalize=True,
        rel_pos=True,
    )
    for key, value in settings.items():
        setattr(cfg, key, value)
    task = SimpleNamespace(cfg=SimpleNamespace(), source_dictionary=dictionary(7))
    model = TupeModel.build_model(cfg, task)
    model.register_classification_head("sentence", num_classes=2)
    for param in model.parameters():
        nn.init.zeros_(param)
    return model


def in_training(model: nn.Module) -> Any:
    """As fairseq's trainer says it while it builds an optimizer."""
    fairseq.optim.model_in_training = model
    return model


def trained(model: nn.Module) -> list[nn.Parameter]:
    return [param for param in model.parameters() if param.requires_grad]


def wrapped(name: str, precision: str, model: nn.Module, **overrides: object) -> Any:
    """The optimizer as fairseq's trainer builds it; with a loss scale as on a GPU."""
    wrapper, settings, _ = PRECISIONS[precision]
    in_training(model)
    cfg = configuration(name, **settings, **overrides)
    if wrapper is None:
        return build_optimizer(cfg.optimizer, trained(model))
    made = wrapper.build_optimizer(cfg, trained(model))
    if precision == "amp":
        made._grad_scaler = torch.amp.GradScaler("cpu", init_scale=SCALE)
    return made
