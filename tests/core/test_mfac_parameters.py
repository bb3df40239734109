"""What enters M-FAC's window; what is outside steps as with an Adam of its own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.core.test_layer_decay import LR, Model, assert_equal_parameters, backward
from tests.core.test_mfac import saved_and_loaded
from tupe_plugin.core.bitfit import train_only_biases
from tupe_plugin.core.encoder_view import UnknownEncoderError
from tupe_plugin.core.layer_decay import parameter_groups
from tupe_plugin.core.mfac import MFAC
from tupe_plugin.core.mfac_parameters import (
    PARAMETERS,
    freeze_outside_of_window,
    mfac_groups,
    outside_of_window,
)

WINDOW = {"num_grads": 4, "damping": 0.1, "momentum": 0.5}
EPS = 1e-3
BEFORE_THE_LAYERS = ("embed_tokens", "positions", "embedding_layer_norm")
every_choice = pytest.mark.parametrize("choice", PARAMETERS)
both_choices = pytest.mark.parametrize("choice", PARAMETERS[1:])


def is_outside(name: str, choice: str) -> bool:
    """By the name alone."""
    if choice == "no-embeddings":
        return name.startswith(BEFORE_THE_LAYERS)
    is_bias = name.endswith("bias") and not name.startswith("positions")
    return choice == "biases" and not is_bias and not name.startswith("head")


def of(choice: str, model: Model) -> MFAC:
    groups = mfac_groups(model, choice, lr=LR, rest_lr=LR / 2, eps=EPS)
    return MFAC(groups, **WINDOW, weight_decay=0.2)


def train(model: Model, *optimizers: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        backward(model, step)
        for optimizer in optimizers:
            optimizer.step()


@every_choice
def test_what_is_outside_is_told_by_the_view(choice: str) -> None:
    model = Model(pre_norm=True)
    outside = outside_of_window(model, choice)
    for name, param in model.names():
        assert (param in outside) == is_outside(name, choice), name


@both_choices
def test_steps_are_those_of_two_optimizers(choice: str) -> None:
    model, other = Model(), Model()
    outside = outside_of_window(other, choice)
    inside = [param for param in other.parameters() if param not in outside]
    both = (
        MFAC(inside, lr=LR, **WINDOW, weight_decay=0.2),
        torch.optim.Adam(outside, lr=LR / 2, eps=EPS, weight_decay=0.2),
    )
    train(model, of(choice, model), steps=range(6))
    train(other, *both, steps=range(6))
    assert_equal_parameters(model, other, rtol=1e-10, atol=1e-10)


@both_choices
def test_layer_decay_multiplies_both_rates(choice: str) -> None:
    model = Model()
    groups = parameter_groups(model, lr=LR, layer_decay=0.5)
    rates = {param: group["lr"] for group in groups for param in group["params"]}
    for group in mfac_groups(model, choice, lr=LR, rest_lr=3 * LR, layer_decay=0.5):
        factor = 1 if group["in_window"] else 3
        for param in group["params"]:
            assert group["lr"] == pytest.approx(factor * rates.pop(param))
    assert not rates


def test_biases_with_the_others_frozen_is_bitfit() -> None:
    model, other = Model(), Model()
    train_only_biases(other)
    groups = mfac_groups(model, "biases", rest="frozen")
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert ours.requires_grad == theirs.requires_grad
    assert all(group["in_window"] for group in groups)


@both_choices
def test_goes_on_bit_for_bit_and_not_with_another_choice(choice: str) -> None:
    """In bfloat16, whose Adam keeps float32."""
    whole, model = (Model().to(torch.bfloat16) for _ in range(2))
    train(whole, of(choice, whole), steps=range(6))
    first = of(choice, model)
    train(model, first, steps=range(3))
    state = saved_and_loaded(first.state_dict())
    assert {entry["exp_avg"].dtype for entry in state["state"].values()} == {torch.float32}
    second = of(choice, model)
    second.load_state_dict(state)
    train(model, second, steps=range(3, 6))
    assert_equal_parameters(model, whole)
    for another in {*PARAMETERS} - {choice}:
        with pytest.raises(ValueError, match=r"the saved window leaves out .*--mfac-parameters"):
            of(another, Model()).load_state_dict(state)


def test_gradient_beside_the_window_that_is_not_finite_leaves_everything() -> None:
    model = Model()
    optimizer = of("no-embeddings", model)
    train(model, optimizer, steps=range(2))
    before, state = copy.deepcopy(model), copy.deepcopy(optimizer.state_dict())
    backward(model, 2)
    model.encoder.embed_tokens.weight.grad[3] = float("nan")  # type: ignore[index]
    optimizer.step()
    assert_equal_parameters(model, before)
    assert (optimizer.num_skipped, optimizer.state_dict()["fisher_window"]["num_pushed"]) == (1, 2)
    for number, entry in optimizer.state_dict()["state"].items():
        assert torch.equal(entry["exp_avg"], state["state"][number]["exp_avg"])


def test_bad_settings() -> None:
    model = Model()
    with pytest.raises(ValueError, match="parameters='bias': give all, no-embeddings or biases"):
        mfac_groups(model, "bias")
    with pytest.raises(ValueError, match="rest='sgd': give adam or frozen"):
        mfac_groups(model, "biases", rest="sgd")
    for bad in ({"betas": (0.9, 1.0)}, {"eps": -1.0}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))}="):
            MFAC(mfac_groups(model, "biases", **bad), **WINDOW)
    with pytest.raises(UnknownEncoderError, match="Linear has no encoder of a known family"):
        freeze_outside_of_window(nn.Linear(2, 3), "biases")
