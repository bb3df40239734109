"""`--optimizer mfac`: options arrive, and gradients reach the window in their true size."""

from __future__ import annotations

import copy
import functools

import fairseq
import pytest
import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq.optim import AMPOptimizer, FP16Optimizer, MemoryEfficientFP16Optimizer, build_optimizer
from omegaconf import OmegaConf
from torch import nn

from tupe_plugin.core.encoder import TupeEncoder
from tupe_plugin.core.fisher_window import FisherWindow
from tupe_plugin.core.mfac import MFAC
from tupe_plugin.core.position_scheme import POSITION_SCHEMES
from tupe_plugin.optim.mfac import FairseqMFAC
from tupe_plugin.registration import register

register(fairseq)

SMALL = ("--mfac-num-grads", "7", "--mfac-damping", "0.01", "--lr", "0.1")
SCALE = 128.0


def configuration(*arguments: str):
    parser = options.get_training_parser()
    job = ["data", "--task", "masked_lm", "--arch", "tupe_tiny", "--optimizer", "mfac"]
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, [*job, *arguments]))


@functools.cache
def parsed_once(*arguments: str):
    return configuration(*arguments)


def small(**overrides: object):
    """The configuration of SMALL, with some values set: `common__fp16=True`."""
    cfg = copy.deepcopy(parsed_once(*SMALL))
    for name, value in overrides.items():
        OmegaConf.update(cfg, name.replace("__", "."), value)
    return cfg


def parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [
        nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in [(3, 5), (7,)]
    ]


def stored_rows(optimizer: MFAC) -> torch.Tensor:
    window = optimizer.window
    assert window is not None
    rows = window.rows.values[: window.num_filled].double()
    return rows * window.rows.scales[: window.num_filled].unsqueeze(1)


def test_options_arrive() -> None:
    arguments = (*SMALL, "--mfac-momentum", "0.5", "--weight-decay", "0.25")
    arguments += ("--mfac-decoupled-weight-decay", "0.125", "--mfac-dtype", "bfloat16")
    arguments += ("--mfac-device", "cpu", "--mfac-no-save-window")
    wrapped = build_optimizer(configuration(*arguments).optimizer, parameters())
    assert isinstance(wrapped, FairseqMFAC)
    optimizer = wrapped.optimizer
    assert isinstance(optimizer, MFAC)
    assert (optimizer.num_grads, optimizer.damping) == (7, 0.01)
    assert optimizer.window_dtype is torch.bfloat16
    assert optimizer.window_device == torch.device("cpu")
    assert not optimizer.save_window
    (group,) = optimizer.param_groups
    assert {name: group[name] for name in ("lr", "momentum", "weight_decay")} == {
        "lr": 0.1,
        "momentum": 0.5,
        "weight_decay": 0.25,
    }
    assert group["decoupled_weight_decay"] == 0.125


def test_defaults_are_the_published_setting() -> None:
    wrapped = build_optimizer(configuration("--lr", "1e-4").optimizer, parameters())
    optimizer = wrapped.optimizer
    assert (optimizer.num_grads, optimizer.damping) == (1024, 1e-6)
    assert optimizer.window_dtype is torch.float32
    assert optimizer.param_groups[0]["momentum"] == 0
    assert optimizer.param_groups[0]["weight_decay"] == 0


FP16 = {"common__fp16": True, "common__fp16_init_scale": int(SCALE)}
WRAPPERS = {
    "fp16": (FP16Optimizer, FP16, torch.float16),
    "fp16 unflat": (FP16Optimizer, {**FP16, "common__fp16_no_flatten_grads": True}, torch.float16),
    "bf16": (FP16Optimizer, {"common__bf16": True}, torch.bfloat16),
    "fp16 memory": (
        MemoryEfficientFP16Optimizer,
        {**FP16, "common__memory_efficient_fp16": True},
        torch.float16,
    ),
    "amp": (AMPOptimizer, {"common__amp": True}, torch.float32),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_window_sees_true_gradients(wrapper: str, clip_norm: float) -> None:
    """Scaled up with the loss, averaged and clipped by the trainer: (3, 4) / 2, clipped to 1."""
    build, settings, dtype = WRAPPERS[wrapper]
    cfg = small(**settings)
    params = [nn.Parameter(torch.tensor([1.0, 2.0], dtype=dtype))]
    wrapped = build.build_optimizer(cfg, params)
    if wrapper == "amp":  # as on a GPU: without one, --amp has no loss scale
        wrapped._grad_scaler = torch.amp.GradScaler("cpu", init_scale=SCALE)
    for _ in range(2):
        wrapped.zero_grad()
        wrapped.backward((params[0] * torch.tensor([3.0, 4.0], dtype=dtype)).sum().float())
        if wrapper != "bf16":
            assert float(params[0].grad[0]) == 3 * SCALE
        wrapped.multiply_grads(0.5)
        wrapped.clip_grad_norm(clip_norm)
        wrapped.step()
    expected = torch.tensor([3.0, 4.0]) / (5.0 if clip_norm else 2.0)
    rows = stored_rows(wrapped.optimizer)
    assert len(rows) == 2
    tolerance = 2e-3 if "memory" in wrapper else 1e-5  # unscaled in half precision there
    torch.testing.assert_close(rows, expected.double().expand(2, 2), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("wrapper", ["fp16", "fp16 unflat", "fp16 memory", "amp"])
def test_overflow_is_counted_and_leaves_the_window(wrapper: str) -> None:
    build, settings, dtype = WRAPPERS[wrapper]
    cfg = small(**settings)
    params = parameters(dtype)
    wrapped = build.build_optimizer(cfg, params)
    if wrapper == "amp":
        wrapped._grad_scaler = torch.amp.GradScaler("cpu", init_scale=SCALE)
    with metrics.aggregate("train"):
        for value in (1.0, float("inf"), 1.0, float("nan"), 1.0):
            wrapped.zero_grad()
            wrapped.backward((value * params[0]).sum().float())
            wrapped.backward(params[1].sum().float())
            try:
                wrapped.clip_grad_norm(1.0)
                wrapped.step()
            except OverflowError:
                continue
        logged = metrics.get_smoothed_values("train")
    assert logged["mfac_skipped"] == 2
    assert stored_rows(wrapped.optimizer).shape == (3, 22)
    assert stored_rows(wrapped.optimizer).isfinite().all()


def test_a_step_that_goes_ahead_is_counted_once() -> None:
    """--amp without a loss scale hands over gradients that are not finite."""
    params = parameters()
    wrapped = build_optimizer(small().optimizer, params)
    for value in (1.0, float("nan"), 1.0):
        wrapped.zero_grad()
        wrapped.backward(value * params[0].sum())
        wrapped.clip_grad_norm(0.0)
        wrapped.step()
    assert wrapped.optimizer.num_skipped == 1


def test_state_goes_from_flat_to_unflat_parameters() -> None:
    runs = []
    for later in ("fp16", "fp16 unflat"):
        params = parameters(torch.float16)
        wrapped = FP16Optimizer.build_optimizer(small(**WRAPPERS["fp16"][1]), params)
        for step in range(5):
            if step == 3 and later != "fp16":
                state = wrapped.state_dict()
                wrapped = FP16Optimizer.build_optimizer(small(**WRAPPERS[later][1]), params)
                state["param_groups"][0]["params"] = [0, 1]  # torch wants as many as there are
                wrapped.load_state_dict(state)
            wrapped.zero_grad()
            wrapped.backward(sum((p.float() * (step + 1)).sin().sum() for p in params))
            wrapped.clip_grad_norm(0.0)
            wrapped.step()
        runs.append([p.detach().float() for p in params])
    for one, other in zip(*runs, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer__lr": [0.1, 0.2]}, "one --lr"),
        ({"optimizer__use_bmuf": True}, "--use-bmuf"),
        ({"optimizer__ddp_backend": "slowmo"}, "--ddp-backend slowmo"),
        ({"optimizer__zero_sharding": "os"}, "--zero-sharding os"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_optimizer(small(**settings).optimizer, parameters())


def test_settings_of_other_parts_arrive() -> None:
    arguments = ("--ddp-backend", "fully_sharded", "--use-bmuf", "--zero-sharding", "os")
    cfg = configuration(*SMALL, *arguments).optimizer
    assert (str(cfg.ddp_backend), cfg.use_bmuf, str(cfg.zero_sharding)) == (
        "fully_sharded",
        True,
        "os",
    )


def test_bias_terms_of_tupe_base_take_less_than_half_a_gigabyte() -> None:
    """What `--optimizer mfac` needs when nothing but bias terms is trained, m = 1024."""
    with torch.device("meta"):
        encoder = TupeEncoder(
            32768,
            1,
            num_layers=12,
            embed_dim=768,
            ffn_embed_dim=3072,
            num_heads=12,
            max_positions=512,
            scheme=POSITION_SCHEMES["tupe-r"],
        )
    biases = sum(p.numel() for name, p in encoder.named_parameters() if name.endswith("bias"))
    assert 90_000 < biases < 130_000
    window = FisherWindow(1024, biases, damping=1e-6)
    tensors = (window.rows.values, window.system.gram, window.system.inverse)
    assert sum(tensor.nbytes for tensor in tensors) < 0.5e9
