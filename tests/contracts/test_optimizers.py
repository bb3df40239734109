"""What every optimizer promises, whatever its settings and the precision: one row for each."""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from typing import Any

import fairseq
import pytest
import torch
from fairseq.optim import FP16Optimizer
from torch import Tensor, nn

from tests.end_to_end.training_jobs import differences
from tupe_plugin.models.tupe import TupeModel

from .optimizers import DECAYED, PRECISIONS, build_model, trained, wrapped

WINDOW = {"optimizer__mfac_num_grads": 4, "optimizer__mfac_damping": 1e-3}  # full after 4 steps
MOMENTUM = {"optimizer__mfac_momentum": 0.5, "optimizer__weight_decay": 0.1}
SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer__weight_decay": 0.1},
    "adam by depth": {"optimizer__weight_decay": 0.1, **DECAYED},
    "mfac": WINDOW,
    "mfac with momentum": {**WINDOW, **MOMENTUM},
    "mfac with decoupled decay": {**WINDOW, "optimizer__mfac_decoupled_weight_decay": 0.1},
    "mfac in bfloat16": {**WINDOW, **MOMENTUM, "optimizer__mfac_dtype": "bfloat16"},
    "mfac in float16": {**WINDOW, "optimizer__mfac_dtype": "float16"},
    "mfac without embeddings": {**WINDOW, "optimizer__mfac_parameters": "no-embeddings"},
    "mfac over biases by depth": {
        **WINDOW,
        **MOMENTUM,
        **DECAYED,
        "optimizer__mfac_parameters": "biases",
        "optimizer__mfac_rest_lr": 0.25,
        "optimizer__adam_betas": "(0.5, 0.75)",
    },
    "mfac compressed": {**WINDOW, **MOMENTUM, "optimizer__mfac_density": 0.75},
    "mfac compressed in bfloat16": {
        **WINDOW,
        "optimizer__mfac_density": 0.75,
        "optimizer__mfac_dtype": "bfloat16",
    },
}
every_setting = pytest.mark.parametrize("setting", SETTINGS)
# While the window fills and when it is full; by depth in every precision but flat float16, which
# has no depths.
RUNS = [
    *((setting, "fp32", done) for setting in SETTINGS for done in (0, 6)),
    *(
        (f"{name} by depth", precision, 3)
        for precision in PRECISIONS
        if precision != "fp16"
        for name in ("adam", "mfac over biases")
    ),
    *((name, "fp16", 3) for name in ("adam", "mfac with momentum")),
]


@pytest.fixture(autouse=True)
def _trainer_is_done():
    yield
    vars(fairseq.optim).pop("model_in_training", None)


def model_of(precision: str = "fp32") -> TupeModel:
    model = build_model(PRECISIONS[precision].dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for param in model.parameters():
            param.normal_(std=0.5, generator=generator)
    return model


def make(setting: str, model: nn.Module, precision: str = "fp32") -> Any:
    return wrapped(setting.split()[0], precision, model, **SETTINGS[setting])


def loss_of(params: Sequence[Tensor], step: int) -> Tensor:
    """Its gradient depends on the parameters and on the step."""
    at_least_float32 = (p.to(torch.promote_types(p.dtype, torch.float32)) for p in params)
    return torch.stack([((step + 1) * p).sin().sum() for p in at_least_float32]).sum()


def train(optimizer: Any, model: nn.Module, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        optimizer.backward(loss_of(trained(model), step))
        optimizer.clip_grad_norm(0.0)
        optimizer.step()


def flat(groups: Sequence[dict[str, Any]]) -> list[nn.Parameter]:
    return [param for group in groups for param in group["params"]]


def copies(model: nn.Module) -> list[Tensor]:
    return [param.detach().clone() for param in model.parameters()]


def assert_equal(model: nn.Module, expected: Sequence[Tensor], rounding: float = 0.0) -> None:
    for (name, param), value in zip(model.named_parameters(), expected, strict=True):
        if rounding:
            torch.testing.assert_close(param.detach(), value, rtol=rounding, atol=rounding)
        else:
            assert torch.equal(param, value), name


@pytest.mark.parametrize(("setting", "precision", "done"), RUNS)
def test_a_run_goes_on_from_its_state_bit_for_bit(setting, precision, done) -> None:
    """Through a file read without trust, and into an optimizer that has gone another way."""
    whole_model, model = model_of(precision), model_of(precision)
    whole, first = make(setting, whole_model, precision), make(setting, model, precision)
    train(whole, whole_model, range(done + 3))
    train(first, model, range(done))
    torch.save(first.state_dict(), file := io.BytesIO())
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert len(state["param_groups"]) == 1
    assert "lr_scale" not in state["param_groups"][0]

    kept = copies(model)
    second = make(setting, model, precision)
    train(second, model, range(5, 5 + done))
    for group in second.param_groups:
        group["lr"] = 9.0  # the state's counts
    with torch.no_grad():
        for param, value in zip(model.parameters(), kept, strict=True):
            param.copy_(value)
    if isinstance(second, FP16Optimizer):  # of these copies a checkpoint has the rounded values
        ours, theirs = (one.param_groups for one in (second, first))
        for copied, param in zip(flat(ours), flat(theirs), strict=True):
            copied.data.copy_(param.data)
    second.load_state_dict(state)
    train(second, model, range(done, done + 3))
    assert list(differences(whole.state_dict(), second.state_dict())) == []
    assert_equal(model, copies(whole_model))


@every_setting
def test_accumulated_gradients_equal_a_large_batch(setting) -> None:
    models = [model_of().double() for _ in range(2)]
    for model, parts in zip(models, ([(0, 1, 2)], [(0,), (1,), (2,)]), strict=True):
        optimizer = make(setting, model)
        for _ in range(3):
            optimizer.zero_grad()
            for part in parts:
                optimizer.backward(sum(loss_of(trained(model), batch) for batch in part))
            optimizer.multiply_grads(1 / 3)
            optimizer.step()
    assert_equal(models[0], copies(models[1]), rounding=1e-9 if "in " not in setting else 1e-5)


@every_setting
def test_a_parameter_without_a_gradient_stays_as_it_is(setting) -> None:
    model = model_of()
    left_out = model.encoder.sentence_encoder.layers[1].fc1.weight
    optimizer = make(setting, model)
    train(optimizer, model, range(2))
    before = copies(model)
    optimizer.zero_grad()
    optimizer.backward(loss_of(trained(model), 2))
    left_out.grad = None
    optimizer.step()
    for (name, param), value in zip(model.named_parameters(), before, strict=True):
        assert torch.equal(param, value) == (param is left_out), name
    train(optimizer, model, range(3, 5))
    assert all(param.isfinite().all() for param in model.parameters())


@every_setting
def test_a_step_without_gradients_is_none(setting) -> None:
    models = [model_of() for _ in range(2)]
    for model, idle in zip(models, (True, False), strict=True):
        optimizer = make(setting, model)
        if idle:
            optimizer.step()
        train(optimizer, model, range(3))
    assert_equal(models[0], copies(models[1]))


@every_setting
def test_frozen_parameters_stay_and_have_no_state(setting) -> None:
    model = model_of()
    for name, param in model.named_parameters():
        places = ("layers.1", "classification_heads", "positions")
        param.requires_grad_(any(place in name for place in places))
    before, count = copies(model), sum(param.numel() for param in trained(model))
    optimizer = make(setting, model)
    train(optimizer, model, range(2))
    for param, value in zip(model.parameters(), before, strict=True):
        assert torch.equal(param, value) != param.requires_grad
    state = optimizer.state_dict()
    seen = sum(entry["exp_avg"].numel() for entry in state["state"].values())
    if "fisher_window" in state:
        window = state["fisher_window"]
        seen += window["dim"]
        kept = round(SETTINGS[setting].get("optimizer__mfac_density", 1) * window["dim"])
        assert {rows.shape[1] for rows in window["rows"]} == {kept}
    assert seen == count


@every_setting
def test_a_closure_is_called_with_gradients_and_its_loss_returned(setting) -> None:
    model, plain = model_of(), model_of()
    optimizer = make(setting, model)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(trained(model), 0)
        loss.backward()
        return loss

    before = loss_of(trained(model), 0)
    assert torch.equal(optimizer.optimizer.step(closure), before)
    train(make(setting, plain), plain, range(1))
    assert_equal(model, copies(plain))


@every_setting
def test_at_a_rate_of_0_nothing_moves(setting) -> None:
    """As torch's own schedulers set it: in each group."""
    model = model_of()
    optimizer = make(setting, model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer.optimizer, lambda step: float(step == 0))
    train(optimizer, model, range(1))
    schedule.step()
    before = copies(model)
    train(optimizer, model, range(1, 3))
    assert_equal(model, before)


@pytest.mark.parametrize("setting", [name for name in SETTINGS if "depth" not in name])
@pytest.mark.parametrize("pickled", [False, True], ids=["deepcopy", "pickle"])
def test_copies_go_on_by_themselves(setting, pickled) -> None:
    """Not by depth: a copy of a torch optimizer loses its hooks."""
    model = model_of()
    optimizer = make(setting, model)
    train(optimizer, model, range(3))
    pair = (model, optimizer.optimizer)
    if pickled:
        torch.save(pair, file := io.BytesIO())
        file.seek(0)
        other, twin = torch.load(file, weights_only=False)
    else:
        other, twin = copy.deepcopy(pair)
    train(optimizer, model, range(3, 6))
    assert not torch.equal(next(other.parameters()), next(model.parameters()))
    for step in range(3, 6):
        twin.zero_grad()
        loss_of(trained(other), step).backward()
        twin.step()
    assert_equal(other, copies(model))
