"""`--layer-decay` of adam and mfac: rates reach each depth in every precision, and survive."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any

import fairseq
import pytest
import torch
from fairseq.optim import build_optimizer
from fairseq.optim.adam import FairseqAdam as StockAdam
from fairseq.optim.lr_scheduler import build_lr_scheduler
from omegaconf import OmegaConf
from torch import nn

from tests.contracts.optimizers import (
    CLASSES,
    DECAY,
    DECAYED,
    LAYERS,
    LR,
    PRECISIONS,
    build_model,
    configuration,
    in_training,
    trained,
    wrapped,
)
from tests.end_to_end.training_jobs import differences
from tests.references.layer_decay import learning_rate
from tupe_plugin.core.encoder_view import UnknownEncoderError
from tupe_plugin.models.tupe import TupeModel

both_optimizers = pytest.mark.parametrize("name", list(CLASSES))
# Flat float16 has no depths.
every_precision = pytest.mark.parametrize("precision", [p for p in PRECISIONS if p != "fp16"])


@pytest.fixture(autouse=True)
def _trainer_is_done():
    yield
    vars(fairseq.optim).pop("model_in_training", None)


def backward(optimizer: Any, params: Sequence[nn.Parameter], step: int) -> None:
    """Gradients that are alike everywhere: (step + 1) times 1 or -1."""
    optimizer.zero_grad()
    optimizer.backward(sum((step + 1.0) * (-1.0) ** step * p.float().sum() for p in params))


def train(optimizer: Any, model: TupeModel, steps: range) -> None:
    for step in steps:
        backward(optimizer, trained(model), step)
        optimizer.clip_grad_norm(0.0)
        optimizer.step()


def reference_names(model: TupeModel) -> dict[str, str]:
    """Name -> name as the reference has it."""
    names = {}
    for name, param in model.named_parameters():
        if not param.requires_grad:
            continue
        short = name.removeprefix("encoder.sentence_encoder.")
        is_head = name.startswith(("classification_heads.", "encoder.lm_head."))
        names[name] = f"head.{name}" if is_head else short
    return names


def assert_moved_by_its_own_rate(model: TupeModel, *, rtol: float = 1e-5) -> None:
    """After one step from 0 with the same gradient everywhere, by which all plain moves equal."""
    params = dict(model.named_parameters())
    head = params["classification_heads.sentence.dense.weight"].detach().float()
    move = head.flatten()[0]
    assert move != 0
    for name, short in reference_names(model).items():
        rate = learning_rate(short, num_layers=LAYERS, lr=1.0, layer_decay=DECAY)
        value = params[name].detach().float()
        torch.testing.assert_close(value, torch.full_like(value, rate * move), rtol=rtol, atol=0)


# ---- the flag


@both_optimizers
def test_flag_arrives_and_is_stored(name: str) -> None:
    cfg = configuration(name, "--layer-decay", str(DECAY))
    assert OmegaConf.to_container(cfg, resolve=True)["optimizer"]["layer_decay"] == DECAY
    assert isinstance(build_optimizer(cfg.optimizer, trained(build_model())), CLASSES[name])
    assert configuration(name).optimizer.layer_decay == 1.0


def test_options_of_adam_are_fairseqs() -> None:
    flags = ("--adam-betas", "(0.5, 0.75)", "--weight-decay", "0.25", "--use-old-adam")
    cfg = configuration("adam", *flags, **DECAYED).optimizer
    optimizer = build_optimizer(cfg, trained(build_model())).optimizer
    assert {group["betas"] for group in optimizer.param_groups} == {(0.5, 0.75)}
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.25}
    assert {group["eps"] for group in optimizer.param_groups} == {1e-20}
    assert cfg.use_old_adam


# ---- rates


@both_optimizers
@every_precision
def test_each_depth_moves_by_its_own_rate(name: str, precision: str) -> None:
    model = build_model(PRECISIONS[precision].dtype)
    optimizer = wrapped(name, precision, model, **DECAYED)
    train(optimizer, model, range(1))
    assert_moved_by_its_own_rate(model, rtol=PRECISIONS[precision].rounding)
    assert optimizer.get_lr() == LR


@both_optimizers
def test_scheduler_sets_the_rate_of_the_heads(name: str) -> None:
    flags = ("--lr-scheduler", "inverse_sqrt", "--warmup-updates", "4", "--warmup-init-lr", "0.1")
    cfg = configuration(name, *flags, **DECAYED)
    model = build_model()
    optimizer = build_optimizer(cfg.optimizer, trained(model))
    scheduler = build_lr_scheduler(cfg.lr_scheduler, optimizer)
    scheduler.step_update(2)
    assert {group["lr"] for group in optimizer.param_groups} == {optimizer.get_lr()}
    assert optimizer.get_lr() == pytest.approx(0.1125)
    train(optimizer, model, range(1))
    assert_moved_by_its_own_rate(model)
    if name == "adam":
        head = model.classification_heads["sentence"].out_proj.bias.detach()
        torch.testing.assert_close(head, torch.full_like(head, -0.1125))


def test_decoupled_weight_decay_is_scaled_with_the_rate() -> None:
    model = build_model()
    for param in model.parameters():
        nn.init.ones_(param)
    cfg = configuration("adam", optimizer__weight_decay=0.5, **DECAYED)
    optimizer = build_optimizer(cfg.optimizer, trained(model))
    backward(optimizer, trained(model), 0)
    for param in trained(model):
        param.grad.zero_()
    optimizer.step()
    shrunk = {name: 1 - float(p.detach().flatten()[0]) for name, p in model.named_parameters()}
    for name, short in reference_names(model).items():
        rate = learning_rate(short, num_layers=LAYERS, lr=LR, layer_decay=DECAY)
        assert shrunk[name] == pytest.approx(0.5 * rate, rel=1e-4), name


def test_a_fused_adam_is_decayed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """apex's, which fairseq takes on a GPU; it reads `lr` of its groups inside of `step`."""

    class FusedAdam(torch.optim.SGD):
        def __init__(self, params, *, lr, use_fp16_stats, **unused):
            super().__init__(params, lr=lr)

    model = build_model()
    cfg = configuration("adam", **DECAYED).optimizer
    with monkeypatch.context() as patch:
        patch.setattr("fairseq.optim.adam.get_fused_adam_class", lambda: FusedAdam)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        optimizer = build_optimizer(cfg, trained(model))
    assert isinstance(optimizer.optimizer, FusedAdam)
    train(optimizer, model, range(1))
    assert_moved_by_its_own_rate(model)


@both_optimizers
def test_bias_terms_only(name: str) -> None:
    model = build_model(bitfit_terms="query,output")
    optimizer = build_optimizer(configuration(name, **DECAYED).optimizer, trained(model))
    train(optimizer, model, range(1))
    assert {p.grad is None for p in model.parameters() if not p.requires_grad} == {True}
    assert_moved_by_its_own_rate(model)


# ---- plain training


@every_precision
def test_decay_1_is_stock_adam_bit_for_bit(precision: str) -> None:
    models = [build_model(PRECISIONS[precision].dtype) for _ in range(2)]
    decay = {"optimizer__weight_decay": 0.25}
    ours, theirs = (wrapped("adam", precision, model, **decay) for model in models)
    stock = StockAdam(
        configuration("adam", **decay).optimizer,
        [param for group in theirs.param_groups for param in group["params"]],
    )
    if PRECISIONS[precision].wrapper is None:
        theirs = stock
    else:
        inside = "fp32_optimizer" if hasattr(theirs, "fp32_optimizer") else "wrapped_optimizer"
        setattr(theirs, inside, stock)
    for optimizer, model in zip((ours, theirs), models, strict=True):
        train(optimizer, model, range(4))
    for one, other in zip(trained(models[0]), trained(models[1]), strict=True):
        assert torch.equal(one, other)
    assert list(differences(ours.state_dict(), theirs.state_dict())) == []
    assert type(ours).__name__ == type(theirs).__name__  # goes into checkpoints


# ---- checkpoints: see also tests/contracts/test_optimizers.py


@both_optimizers
@pytest.mark.parametrize("before", [1.0, 0.25])
def test_another_decay_on_resume_is_the_one_in_force(name: str, before: float) -> None:
    model = build_model()
    first = wrapped(name, "fp32", model, optimizer__layer_decay=before)
    train(first, model, range(2))
    second = wrapped(name, "fp32", model, **DECAYED)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert len(second.param_groups) == LAYERS + 3
    for param in model.parameters():
        nn.init.zeros_(param)
    train(second, model, range(2, 3))
    if name == "mfac":
        assert second.optimizer.window.num_filled == 3
    else:
        assert {entry["step"] for entry in second.optimizer.state.values()} == {3}
    assert_moved_by_its_own_rate(model)


def test_resumes_a_run_of_stock_fairseq() -> None:
    model = build_model()
    stock = StockAdam(configuration("adam").optimizer, trained(model))
    train(stock, model, range(2))
    ours = wrapped("adam", "fp32", model, **DECAYED)
    ours.load_state_dict(copy.deepcopy(stock.state_dict()), {"eps": 1e-3})
    assert {group["eps"] for group in ours.param_groups} == {1e-3}
    assert len({group["lr_scale"] for group in ours.param_groups}) == LAYERS + 3


# ---- what cannot be done is refused


@both_optimizers
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer__ddp_backend": "fully_sharded"}, "--ddp-backend fully_sharded"),
        ({"optimizer__zero_sharding": "os"}, "--zero-sharding os"),
        ({"optimizer__fp16": True}, "^--layer-decay 0.5: .*; add --fp16-no-flatten-grads$"),
    ],
)
def test_bad_settings(name: str, settings: dict[str, object], message: str) -> None:
    cfg = configuration(name, **{**DECAYED, **settings})
    with pytest.raises(ValueError, match=message) as caught:
        build_optimizer(cfg.optimizer, trained(build_model()))
    assert "\n" not in str(caught.value)


@both_optimizers
def test_parameters_without_a_depth_are_refused(name: str) -> None:
    cfg = configuration(name, **DECAYED).optimizer
    stranger = in_training(nn.Linear(2, 3))
    with pytest.raises(UnknownEncoderError, match="Linear has no encoder of a known family"):
        build_optimizer(cfg, list(stranger.parameters()))
    model = build_model()
    with pytest.raises(ValueError, match=r"\d+ parameters train, .* a criterion with parameters"):
        build_optimizer(cfg, [*trained(model), stranger.bias])
    del fairseq.optim.model_in_training
    with pytest.raises(ValueError, match="only fairseq's trainer tells"):
        build_optimizer(cfg, trained(model))


@both_optimizers
def test_log_has_the_table_of_rates(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    model = build_model()
    build_optimizer(configuration(name).optimizer, trained(model))
    assert "layer-decay" not in caplog.text
    build_optimizer(configuration(name, **DECAYED).optimizer, trained(model))
    (record,) = [r for r in caplog.records if "layer-decay" in r.getMessage()]
    rows = [line.split() for line in record.getMessage().splitlines()[2:]]
    assert [(row[0], row[-2], row[-1]) for row in rows] == [
        (str(level), f"{DECAY ** (5 - level):.4f}", f"{LR * DECAY ** (5 - level):.3g}")
        for level in range(6)
    ]
