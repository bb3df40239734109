"""What every criterion promises, whatever the task and the encoder: one row for each."""

from __future__ import annotations

import types
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from fairseq import metrics

from tests.adapters import small_batches as small
from tupe_plugin.core.adversarial_methods import METHODS
from tupe_plugin.core.bitfit import train_only_biases

ALPHA = 0.5
TERMS = "intermediate,output"


class Row(NamedTuple):
    """A criterion with its options."""

    name: str
    options: Mapping[str, Any] = MappingProxyType({})
    passes: int = 1
    """A forward and a backward through each layer, the trainer's backward included."""
    without: str | None = None
    """The row that it is without what it adds ..."""
    off: Mapping[str, Any] = MappingProxyType({})
    """... that is, with these options ..."""
    dropout: float = 0.2
    """... and this much dropout."""
    term: str | None = None
    """What it adds, by its name in the log ..."""
    weight: float = 1.0
    """... and how much of it is in the loss."""

    @property
    def method(self) -> str | None:
        return self.options.get("adv_method")

    @property
    def draws(self) -> bool:
        """Noise that is drawn differs from batch to batch."""
        defaults = METHODS[self.method].defaults if self.method else {}
        return self.options.get("adv_init", defaults.get("init", "zero")) != "zero"


def noisy(method: str, passes: int, **options: Any) -> Row:
    named = {f"adv_{name}": value for name, value in options.items()}
    return Row(
        "adversarial",
        {"adv_method": method, **named},
        passes,
        without="plain",
        off={"adv_epsilon": 0.0},
        term="adversarial_loss",
        weight=METHODS[method].defaults.get("weight", 1.0),
    )


NOISY = {
    "attention": noisy("attention", 3, epsilon=3.0),  # this model hardly hears it
    "attention on logits": noisy("attention", 4, site="logits", steps=2),
    "fgm": noisy("fgm", 2),
    "pgd": noisy("pgd", 4),
    "pgd from noise": noisy("pgd", 5, init="uniform"),
    "freelb": noisy("freelb", 3),
    "smart": noisy("smart", 3, epsilon=3.0, step_size=3.0),
}
RDROP = {"rdrop_alpha": ALPHA}
ROWS = {
    "plain": Row("sentence_prediction"),
    "bitfit": Row("bitfit", without="plain"),
    "rdrop": Row(*("rdrop", RDROP, 1, "plain"), dropout=0.0, term="rdrop_divergence", weight=ALPHA),
    **NOISY,
    **{
        f"{name} with rdrop": row._replace(options={**row.options, **RDROP}, without="rdrop")
        for name, row in NOISY.items()
    },
}
assert {row.method for row in NOISY.values()} == set(METHODS)


class Case(NamedTuple):
    row: Row
    task: str
    encoder: str

    def of(self, name: str) -> Case:
        """Another row on the same task and encoder."""
        return self._replace(row=ROWS[name])


def cases() -> dict[str, Case]:
    """Classification with each row; the other tasks with every second one that has them.

    Encoders take turns, so that each row, and each task, is seen on both.
    """
    found = {}
    for number, (name, row) in enumerate(ROWS.items()):
        for turn, task in enumerate(("classification", "regression", "masked_lm")):
            if task == "masked_lm" and (row.name in ("bitfit", "rdrop") or "rdrop" in name):
                continue
            if turn and number > 2 and (number + turn) % 2:
                continue
            encoder = ("tupe", "roberta")[(number + turn) % 2]
            found[f"{name}, {task}, {encoder}"] = Case(row, task, encoder)
    return found


CASES = cases()


def where(wanted: Any) -> Any:
    chosen = {name: case for name, case in CASES.items() if wanted(case.row)}
    return pytest.mark.parametrize("case", chosen.values(), ids=list(chosen))


every_case = where(lambda row: True)
every_term = where(lambda row: row.term)


def criterion(case: Case, **options: Any) -> Any:
    is_plain_masked_lm = case.task == "masked_lm" and case.row is ROWS["plain"]
    name = "masked_lm" if is_plain_masked_lm else case.row.name
    return small.criterion(name, case.task, **{**case.row.options, **options})


def classes(case: Case) -> int:
    return 1 if case.task == "regression" else 3


def model_of(case: Case, dropout: float = 0.2) -> Any:
    made = small.model(classes=classes(case), dropout=dropout, encoder=case.encoder)
    if case.row.name == "bitfit":
        train_only_biases(made, TERMS)
    return made


def batch(case: Case) -> dict[str, Any]:
    if case.task == "masked_lm":
        return small.masked_tokens()
    return small.sentences(regression=case.task == "regression")


def rows_of(sample: dict[str, Any], chosen: slice) -> dict[str, Any]:
    """Some sentences of a batch."""
    part = {name: value[chosen] for name, value in sample["net_input"].items()}
    return {**sample, "net_input": part, "target": sample["target"][chosen]}


def padded(sample: dict[str, Any], extra: int) -> dict[str, Any]:
    padding = torch.full((small.BATCH, extra), small.PAD)
    net_input = dict(sample["net_input"])
    net_input["src_tokens"] = torch.cat([net_input["src_tokens"], padding], 1)
    target = sample["target"]
    if target.dim() == 2 and target.size(1) > 1:
        target = torch.cat([target, padding], 1)
    return {**sample, "net_input": net_input, "target": target}


def logged(made: Any, log: dict[str, Any]) -> dict[str, float]:
    with metrics.aggregate(new_root=True) as meters:
        made.reduce_metrics([log])
    return meters.get_smoothed_values()


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def step(case: Case, *, dropout: float = 0.2, seed: int = 3, **options: Any) -> Any:
    """A training step of a new model."""
    made, model = criterion(case, **options), model_of(case, dropout)
    torch.manual_seed(seed)
    loss, size, log = made(model, batch(case))
    assert not gradients(model)
    loss.backward()
    return types.SimpleNamespace(
        loss=loss.item(),
        size=size,
        log=logged(made, log),
        model=model,
        gradients=gradients(model),
        random=torch.get_rng_state(),
    )


def assert_close(got: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """fairseq computes losses in float32, whatever the model's type is."""
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


@every_case
def test_each_pass_goes_once_forward_and_once_backward(case: Case) -> None:
    model, counted = model_of(case), {"forward": 0, "backward": 0}
    layer = model.encoder.sentence_encoder.layers[1]
    layer.register_forward_hook(lambda *_: counted.update(forward=counted["forward"] + 1))
    layer.register_full_backward_hook(lambda *_: counted.update(backward=counted["backward"] + 1))
    criterion(case)(model, batch(case))[0].backward()
    assert counted == {"forward": case.row.passes, "backward": case.row.passes}


@where(lambda row: row.without)
def test_without_what_it_adds_it_is_the_criterion_below(case: Case) -> None:
    """With dropout, if it can be had: all passes draw the same masks."""
    row = case.row
    ours = step(case, dropout=row.dropout, **row.off)
    theirs = step(case.of(row.without), dropout=row.dropout)
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-6)
    assert ours.size == theirs.size
    shared = theirs.log.keys() - {"task_loss"}  # R-Drop's is a part of ours
    assert {key: ours.log[key] for key in shared} == pytest.approx(
        {key: theirs.log[key] for key in shared}, abs=2e-3
    )
    assert_close(ours.gradients, {name: theirs.gradients[name] for name in ours.gradients})
    assert torch.equal(ours.random, theirs.random) or row.name == "rdrop"


@every_term
def test_what_it_adds_changes_the_gradient_and_neither_model_nor_randomness(case: Case) -> None:
    ours, below = step(case), step(case.of(case.row.without))
    for name, value in model_of(case).state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], value), name
    assert torch.equal(ours.random, below.random) or case.row.name == "rdrop"
    assert ours.gradients.keys() == below.gradients.keys()
    changes = [(ours.gradients[n] - below.gradients[n]).abs().max() for n in ours.gradients]
    assert max(changes) > 1e-6


@every_term
def test_what_it_adds_is_logged_under_its_name(case: Case) -> None:
    """For each row of the loss, in the unit of the loss."""
    log = step(case).log
    assert log[case.row.term] > 0
    assert ("rdrop_divergence" in log) == ("rdrop_alpha" in case.row.options)
    parts = log.get("task_loss", 0) + case.row.weight * log[case.row.term]
    if case.row.method in ("fgm", "pgd"):  # the mean over losses without and with noise
        parts /= 1 + case.row.weight
    assert log["loss"] == pytest.approx(parts, abs=2e-3)


@every_case
def test_a_step_can_be_repeated(case: Case) -> None:
    """It depends on the seed; without dropout on nothing that is not drawn."""
    losses = [step(case, dropout=0.0, seed=seed).loss for seed in (3, 3, 4)]
    assert losses[0] == losses[1]
    assert (losses[0] == losses[2]) != case.row.draws


@every_case
def test_validation_is_the_plain_criterions(case: Case) -> None:
    model, results = model_of(case).eval(), []
    for made in (criterion(case), criterion(case.of("plain"))):
        with torch.no_grad():
            loss, _, log = made.eval()(model, batch(case))
        results.append((loss.item(), log.keys(), logged(made, log)))
    assert results[0] == results[1]


@every_case
def test_padding_changes_nothing(case: Case) -> None:
    """Noise that is drawn would be another draw, so it is made small."""
    small_draw = {"adv_init_size": 1e-7} if case.row.draws else {}
    losses = []
    for extra in (0, 4):
        made = criterion(case, **small_draw)
        losses.append(made(model_of(case, dropout=0.0), padded(batch(case), extra))[0].item())
    # A divergence's slope at nearly no noise is that of its curvature: any draw may decide.
    exact = case.row.method is None or not METHODS[case.row.method].climbs_divergence
    assert losses[0] == pytest.approx(losses[1], rel=1e-4 if exact else 0.2)


@where(lambda row: not row.draws)
def test_accumulated_gradients_equal_a_large_batch(case: Case) -> None:
    whole = step(case, dropout=0.0)
    made, model = criterion(case), model_of(case, dropout=0.0)
    size = 0
    for part in (slice(0, 2), slice(2, None)):
        loss, part_size, _ = made(model, rows_of(batch(case), part))
        loss.backward()
        size += part_size
    assert size == whole.size
    assert_close(gradients(model), whole.gradients)


@every_case
def test_frozen_parameters_get_no_gradient(case: Case) -> None:
    """Words among them, as with --bitfit-terms; what a criterion adds is still felt."""
    found = []
    for options in ({}, case.row.off):
        made, model = criterion(case, **options), model_of(case)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and name.endswith("bias"))
        torch.manual_seed(3)
        made(model, batch(case))[0].backward()
        found.append(gradients(model))
    assert all(name.endswith("bias") for name in found[0])
    same = all(torch.allclose(found[0][name], found[1][name], atol=1e-6) for name in found[0])
    assert same == (not case.row.off)


@every_case
def test_half_precision_is_finite_and_not_far_off(case: Case) -> None:
    dtype = {"tupe": torch.float16, "roberta": torch.bfloat16}[case.encoder]
    model = model_of(case, dropout=0.0).to(dtype)
    loss, _, _ = criterion(case)(model, batch(case))
    loss.backward()
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())
    assert loss.dtype == torch.float32
    # Noise is drawn in the model's type, so it is another.
    assert case.row.draws or loss.item() == pytest.approx(step(case, dropout=0.0).loss, rel=0.1)


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.task == "masked_lm"], ids=str
)
def test_a_masked_lm_batch_without_masks_weighs_nothing(case: Case) -> None:
    model = model_of(case)
    loss, size, _ = criterion(case)(model, small.masked_tokens(masked=False))
    loss.backward()
    assert loss == 0
    assert size == 0
    assert all(gradient.abs().max() == 0 for gradient in gradients(model).values())


@where(lambda row: row.without == "rdrop" and not row.draws)
def test_rdrop_without_dropout_adds_nothing(case: Case) -> None:
    """Both copies are alike then, and so is their noise."""
    plain = {name: row for name, row in NOISY.items() if row.method == case.row.method}
    ours, theirs = (
        step(case, dropout=0.0),
        step(case._replace(row=next(iter(plain.values()))), dropout=0.0),
    )
    assert_close(ours.gradients, theirs.gradients)
