"""`--optimizer mfac`: options arrive, and gradients reach the window in their true size."""

from __future__ import annotations

import logging
from typing import Any

import fairseq
import pytest
import torch
from fairseq.logging import metrics
from fairseq.optim import build_optimizer
from torch import nn

from tests.contracts.optimizers import (
    DECAY,
    PRECISIONS,
    SCALE,
    build_model,
    configuration,
    in_training,
    trained,
    wrapped,
)
from tupe_plugin.core.encoder_view import UnknownEncoderError
from tupe_plugin.core.layer_decay import parameter_depths
from tupe_plugin.core.mfac import MFAC
from tupe_plugin.core.mfac_parameters import outside_of_window
from tupe_plugin.optim.mfac import FairseqMFAC, MfacConfig

SMALL = ("--mfac-num-grads", "7", "--mfac-damping", "0.01", "--lr", "0.1")


@pytest.fixture(autouse=True)
def _trainer_is_done():
    yield
    vars(fairseq.optim).pop("model_in_training", None)


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
    arguments += ("--mfac-device", "cpu", "--mfac-no-save-window", "--mfac-density", "0.0625")
    wrapped = build_optimizer(configuration("mfac", *arguments).optimizer, parameters())
    assert isinstance(wrapped, FairseqMFAC)
    optimizer = wrapped.optimizer
    assert isinstance(optimizer, MFAC)
    assert (optimizer.num_grads, optimizer.damping) == (7, 0.01)
    assert optimizer.density == 0.0625
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
    cfg = MfacConfig()
    assert (cfg.mfac_num_grads, cfg.mfac_damping) == (1024, 1e-6)
    assert (str(cfg.mfac_dtype), cfg.mfac_momentum, cfg.weight_decay) == ("float32", 0, 0)
    assert cfg.mfac_density == 1


# Not the precisions without a loss scale, nor bfloat16 throughout, which rounds what is seen.
SCALED = ["fp16", "fp16 unflat", "fp16 memory", "amp"]


def small(precision: str, params: list[nn.Parameter]) -> Any:
    window = {"optimizer__mfac_num_grads": 7, "optimizer__mfac_damping": 0.01}
    return wrapped("mfac", precision, nn.ParameterList(params), **window)


@pytest.mark.parametrize("precision", [*SCALED, "bf16"])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_window_sees_true_gradients(precision: str, clip_norm: float) -> None:
    """Scaled up with the loss, averaged and clipped by the trainer: (3, 4) / 2, clipped to 1."""
    dtype = PRECISIONS[precision].dtype
    params = [nn.Parameter(torch.tensor([1.0, 2.0], dtype=dtype))]
    optimizer = small(precision, params)
    for _ in range(2):
        optimizer.zero_grad()
        optimizer.backward((params[0] * torch.tensor([3.0, 4.0], dtype=dtype)).sum().float())
        if precision in SCALED:
            assert float(params[0].grad[0]) == 3 * SCALE
        optimizer.multiply_grads(0.5)
        optimizer.clip_grad_norm(clip_norm)
        optimizer.step()
    expected = torch.tensor([3.0, 4.0]) / (5.0 if clip_norm else 2.0)
    rows = stored_rows(optimizer.optimizer)
    assert len(rows) == 2
    tolerance = 2e-3 if "memory" in precision else 1e-5  # unscaled in half precision there
    torch.testing.assert_close(rows, expected.double().expand(2, 2), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("precision", SCALED)
def test_overflow_is_counted_and_leaves_the_window(precision: str) -> None:
    params = parameters(PRECISIONS[precision].dtype)
    optimizer = small(precision, params)
    with metrics.aggregate("train"):
        for value in (1.0, float("inf"), 1.0, float("nan"), 1.0):
            optimizer.zero_grad()
            optimizer.backward((value * params[0]).sum().float())
            optimizer.backward(params[1].sum().float())
            try:
                optimizer.clip_grad_norm(1.0)
                optimizer.step()
            except OverflowError:
                continue
        logged = metrics.get_smoothed_values("train")
    assert logged["mfac_skipped"] == 2
    assert 0 < logged["mfac_error"] < 1e-4
    assert stored_rows(optimizer.optimizer).shape == (3, 22)
    assert stored_rows(optimizer.optimizer).isfinite().all()


def test_a_step_that_goes_ahead_is_counted_once() -> None:
    """--amp without a loss scale hands over gradients that are not finite."""
    params = parameters()
    optimizer = small("fp32", params)
    for value in (1.0, float("nan"), 1.0):
        optimizer.zero_grad()
        optimizer.backward(value * params[0].sum())
        optimizer.clip_grad_norm(0.0)
        optimizer.step()
    assert optimizer.optimizer.num_skipped == 1


def test_state_goes_from_flat_to_unflat_parameters() -> None:
    runs = []
    for later in ("fp16", "fp16 unflat"):
        params = parameters(torch.float16)
        optimizer = small("fp16", params)
        for step in range(5):
            if step == 3 and later != "fp16":
                state = optimizer.state_dict()
                optimizer = small(later, params)
                state["param_groups"][0]["params"] = [0, 1]  # torch wants as many as there are
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            optimizer.backward(sum((p.float() * (step + 1)).sin().sum() for p in params))
            optimizer.clip_grad_norm(0.0)
            optimizer.step()
        runs.append([p.detach().float() for p in params])
    for one, other in zip(*runs, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-3)


BIASES = "--mfac-parameters biases"
ALL_ENTERS = r"does not enter .* all does: give --mfac-parameters no-embeddings or biases, or leave"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--lr 0.1,0.2", "one --lr"),
        ("--use-bmuf", "--use-bmuf"),
        ("--ddp-backend fully_sharded", "--ddp-backend fully_sharded"),
        ("--zero-sharding os", "--zero-sharding os"),
        ("--mfac-rest adam", ALL_ENTERS),
        ("--mfac-rest-lr 0.1", ALL_ENTERS),
        ("--adam-betas (0.5,0.5)", ALL_ENTERS),
        (
            f"{BIASES} --mfac-rest frozen --adam-eps 1",
            r"^--adam-eps is for .* frozen trains nothing",
        ),
        (f"{BIASES} --fp16", f"^{BIASES}: .* --fp16-no-flatten-grads$"),
        (f"{BIASES} --lr 0 --mfac-rest-lr 1", "^--mfac-rest-lr goes with an --lr above 0, not 0"),
    ],
)
def test_settings_of_other_parts_arrive_and_are_refused(flags: str, message: str) -> None:
    cfg = configuration("mfac", *flags.split())
    with pytest.raises(ValueError, match=message):
        build_optimizer(cfg.optimizer, parameters())


# ---- what enters the window


def grow(model: nn.Module, flags: str) -> Any:
    """One step with a gradient of 1 everywhere."""
    optimizer = build_optimizer(configuration("mfac", *flags.split()).optimizer, trained(model))
    for group in optimizer.param_groups:
        group["lr"] /= 2  # as a scheduler does
    optimizer.backward(sum(param.sum() for param in trained(model)))
    optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ("choice", "decay"), [("no-embeddings", 1), ("biases", 1), ("biases", DECAY)]
)
def test_the_others_train_with_adam_at_a_rate_of_their_own(
    choice: str, decay: float, caplog: pytest.LogCaptureFixture
) -> None:
    """With a gradient of 1 and an epsilon of 1 Adam's direction is 1/2."""
    model = build_model()
    outside = outside_of_window(model, choice)
    depths = parameter_depths(model)
    adam = "--mfac-rest-lr 0.5 --adam-betas (0.5,0.75) --adam-eps 1"
    caplog.set_level(logging.INFO)
    optimizer = grow(model, f"--mfac-parameters {choice} {adam} --layer-decay {decay}")
    assert {group["betas"] for group in optimizer.param_groups} == {(0.5, 0.75)}
    for param in trained(model):
        if param in outside:
            moved = torch.full_like(param, -0.5 / 2 / 2 * depths[param].lr_scale(decay))
            torch.testing.assert_close(param.detach(), moved)
    inside = sum(param.numel() for param in trained(model) if param not in outside)
    assert optimizer.optimizer.window.rows.values.shape[1] == inside
    others = sum(param.numel() for param in trained(model)) - inside
    told = f"{inside:,} parameters are in the window; {others:,} train with Adam at a rate of 0.5"
    assert f"--mfac-parameters {choice}: {told}" in caplog.text


def test_what_cannot_be_told_apart_is_refused() -> None:
    stranger = in_training(nn.Linear(2, 3))
    cfg = configuration("mfac", *BIASES.split()).optimizer
    with pytest.raises(UnknownEncoderError, match="Linear has no encoder of a known family"):
        build_optimizer(cfg, list(stranger.parameters()))
    frozen = configuration("mfac", *BIASES.split(), "--mfac-rest", "frozen").optimizer
    with pytest.raises(UnknownEncoderError, match="Linear has no encoder of a known family"):
        FairseqMFAC.prepare_model(frozen, stranger)
    with pytest.raises(ValueError, match=r"nothing of what trains is outside .*--bitfit-terms"):
        build_optimizer(cfg, trained(build_model(bitfit_terms="query,output")))
