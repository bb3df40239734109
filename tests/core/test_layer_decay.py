"""Which depth a parameter has, and at which rate it steps. States: `tests/contracts/`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from tests.core.random_parameters import randomized
from tests.references.layer_decay import depth, learning_rate
from tupe_plugin.core.encoder import TupeEncoder
from tupe_plugin.core.encoder_view import UnknownEncoderError
from tupe_plugin.core.heads import ClassificationHead, MaskedLMHead
from tupe_plugin.core.layer_decay import (
    Depth,
    decayed_groups,
    format_table,
    keep_groups_out_of_states,
    parameter_depths,
    parameter_groups,
    runs_of_one_depth,
    scale_learning_rates,
)
from tupe_plugin.core.mfac import MFAC
from tupe_plugin.core.position_scheme import POSITION_SCHEMES

VOCAB, PAD, LAYERS, EMBED = 11, 1, 3, 10
LR, DECAY = 0.1, 0.7

every_scheme = pytest.mark.parametrize("scheme", list(POSITION_SCHEMES))
both_norms = pytest.mark.parametrize("pre_norm", [False, True], ids=["post-LN", "pre-LN"])


class Model(nn.Module):
    """An encoder and a classification head, no dropout."""

    def __init__(self, scheme: str = "tupe-r", *, pre_norm: bool = False) -> None:
        super().__init__()
        self.encoder = TupeEncoder(
            VOCAB,
            PAD,
            num_layers=LAYERS,
            embed_dim=EMBED,
            ffn_embed_dim=7,
            num_heads=2,
            max_positions=5,
            scheme=POSITION_SCHEMES[scheme],
            embedding_normalize=True,
            normalize_before=pre_norm,
            dropout=0.0,
            attention_dropout=0.0,
        )
        self.head = ClassificationHead(EMBED, 2)
        randomized(self)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(tokens)[-1])

    def depths(self) -> dict[nn.Parameter, Depth]:
        return parameter_depths(self)

    def names(self) -> Iterator[tuple[str, nn.Parameter]]:
        for name, param in self.named_parameters():
            yield name.removeprefix("encoder."), param

    def runs(self) -> list[tuple[Depth, list[nn.Parameter]]]:
        depths = self.depths()
        params = [param for _, param in self.names()]
        return runs_of_one_depth(params, [depths[param] for param in params])

    def groups(self, layer_decay: float = DECAY) -> list[dict]:
        return decayed_groups(self.runs(), layer_decay)


def backward(model: Model, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    tokens = torch.randint(2, VOCAB, (3, 5), generator=generator)
    tokens[1, 3:] = PAD
    model.zero_grad()
    model(tokens).logsumexp(dim=-1).pow(2).mean().backward()


def adam(params) -> torch.optim.Optimizer:
    # The key biases' gradients are 0 but for rounding; a small epsilon would make steps of that.
    return torch.optim.AdamW(params, lr=LR, weight_decay=0.3, eps=1e-3)


def sgd(params) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=LR, momentum=0.5)


def assert_equal_parameters(one: nn.Module, other: nn.Module, **tolerance: float) -> None:
    named = dict(other.named_parameters())
    for name, param in one.named_parameters():
        if tolerance:
            torch.testing.assert_close(param, named[name], **tolerance)
        else:
            assert torch.equal(param, named[name]), name


# ---- depths


@every_scheme
@both_norms
def test_depths_are_those_of_the_names(scheme: str, pre_norm: bool) -> None:
    model = Model(scheme, pre_norm=pre_norm)
    depths = model.depths()
    for name, param in model.names():
        assert depths[param].level == depth(name, num_layers=LAYERS), name
    assert len(depths) == sum(1 for _ in model.names())
    assert {place.top for place in depths.values()} == {LAYERS + 2}
    levels = {0, 1, 2, 3, *([4] if pre_norm else []), 5}
    assert {place.level for place in depths.values()} == levels


def test_scales_by_hand() -> None:
    scales = {run[0].what: run[0].lr_scale(0.5) for run in Model(pre_norm=True).runs()}
    assert scales == {
        "embeddings": 1 / 32,
        "layer 0": 1 / 16,
        "layer 1": 1 / 8,
        "layer 2": 1 / 4,
        "last LayerNorm": 1 / 2,
        "heads": 1.0,
    }


def test_tied_output_matrix_keeps_the_depth_of_the_embedding() -> None:
    model = Model()
    head = model.lm_head = MaskedLMHead(model.encoder.embed_tokens.weight)
    depths = model.depths()
    assert depths[model.encoder.embed_tokens.weight].level == 0
    assert depths[head.dense.weight] == depths[head.bias] == Depth(LAYERS + 2, LAYERS + 2, "heads")


def test_a_new_module_of_the_encoder_must_be_given_a_place() -> None:
    model = Model()
    model.encoder.adapter = nn.Linear(EMBED, EMBED)
    with pytest.raises(UnknownEncoderError, match=r"nothing of the bias adapter\.bias"):
        model.depths()


# ---- steps


@both_norms
@pytest.mark.parametrize("make", [adam, sgd])
def test_equals_an_optimizer_for_each_parameter_at_its_own_rate(make, pre_norm: bool) -> None:
    ours, theirs = Model(pre_norm=pre_norm), Model(pre_norm=pre_norm)
    optimizer = make(ours.groups())
    scale_learning_rates(optimizer)
    separate = []
    for name, param in theirs.names():
        separate.append(make([param]))
        rate = learning_rate(name, num_layers=LAYERS, lr=LR, layer_decay=DECAY)
        separate[-1].param_groups[0]["lr"] = rate
    for step in range(5):
        backward(ours, step)
        optimizer.step()
        backward(theirs, step)
        for one in separate:
            one.step()
    assert_equal_parameters(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("make", [adam, sgd, MFAC])
def test_decay_1_is_plain_training_bit_for_bit(make) -> None:
    plain, decayed = Model(), Model()
    optimizers = [make(plain.parameters()), make(decayed.groups(1.0))]
    scale_learning_rates(optimizers[1])
    for step in range(3):
        for model, optimizer in zip((plain, decayed), optimizers, strict=True):
            backward(model, step)
            optimizer.step()
    assert_equal_parameters(plain, decayed)


def test_lr_between_the_steps_is_whatever_a_scheduler_wrote() -> None:
    """One that sets a value in all groups, then one that multiplies what it finds."""
    models = [Model(), Model()]
    optimizers = [sgd(models[0].groups()), sgd(models[1].groups())]
    scale_learning_rates(optimizers[0])
    plateaus = [
        torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        for optimizer in optimizers
    ]
    expected = [0.3, 0.15, 0.075]
    for step, rate in enumerate(expected):
        for model, optimizer, plateau in zip(models, optimizers, plateaus, strict=True):
            if step == 0:
                for group in optimizer.param_groups:
                    group["lr"] = 0.3 * (group["lr_scale"] if model is models[1] else 1)
                plateau.step(1.0)
            backward(model, step)
            optimizer.step()
            plateau.step(1.0)  # no better than before
        assert {group["lr"] for group in optimizers[0].param_groups} == {rate / 2}
    assert_equal_parameters(*models, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [adam, sgd, MFAC])
def test_groups_with_a_rate_of_their_own_step_the_same_under_a_schedule(make) -> None:
    models, optimizers = [Model(), Model()], []
    for model in models:
        model.encoder.layers[1].requires_grad_(False)
    optimizers.append(make(parameter_groups(models[0], lr=LR, layer_decay=DECAY)))
    optimizers.append(make(models[1].groups()))
    optimizers[1].param_groups[:] = [{**g, "lr": LR} for g in optimizers[1].param_groups]
    scale_learning_rates(optimizers[1])
    names = [group["name"] for group in optimizers[0].param_groups]
    assert names == ["embeddings", "layer 0", "layer 2", "heads"]
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1 / (1 + done))
        for optimizer in optimizers
    ]
    for step in range(3):
        for model, optimizer, schedule in zip(models, optimizers, schedules, strict=True):
            backward(model, step)
            optimizer.step()
            schedule.step()
    assert_equal_parameters(*models, rtol=1e-10, atol=1e-10)
    models[0].requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        parameter_groups(models[0], lr=LR, layer_decay=DECAY)


# ---- groups and states


def test_frozen_parameters_are_in_no_group() -> None:
    model = Model()
    depths = model.depths()
    trained = [p for name, p in model.names() if name.startswith(("layers.1", "head"))]
    runs = runs_of_one_depth(trained, [depths[param] for param in trained])
    assert [place.what for place, _ in runs] == ["layer 1", "heads"]


def test_order_of_the_parameters_is_kept() -> None:
    model = Model(pre_norm=True)
    flat = [param for group in model.groups() for param in group["params"]]
    assert [id(param) for param in flat] == [id(param) for param in model.parameters()]


def test_state_of_other_parameters_is_refused() -> None:
    model = Model()
    flat = sgd([nn.Parameter(torch.zeros(7))])
    count = sum(1 for _ in model.parameters())
    decayed = sgd(model.groups())
    keep_groups_out_of_states(decayed)
    with pytest.raises(ValueError, match=rf"is of 1 parameters, and {count} are trained.*--reset"):
        decayed.load_state_dict(flat.state_dict())


@pytest.mark.parametrize("layer_decay", [0.0, -0.5, 1.01, float("nan")])
def test_decay_out_of_range(layer_decay: float) -> None:
    with pytest.raises(ValueError, match=rf"layer_decay={layer_decay}: must be above 0"):
        Model().groups(layer_decay)


def test_table() -> None:
    model = Model()
    lines = format_table(model.runs(), 0.5, lr=0.2).splitlines()
    assert lines[0].split() == ["depth", "what", "parameters", "factor", "lr"]
    assert [line.split()[0] for line in lines[1:]] == ["0", "1", "2", "3", "5"]
    assert lines[-1].split() == ["5", "heads", str(10 * 10 + 10 + 2 * 10 + 2), "1.0000", "0.2"]
    assert lines[1].split()[-2:] == ["0.0312", "0.00625"]
    counts = [int(line.split()[-3].replace(",", "")) for line in lines[1:]]
    assert sum(counts) == sum(param.numel() for param in model.parameters())
