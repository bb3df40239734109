"""`--criterion adversarial` on a real model: passes, randomness, both tasks, every option."""

from __future__ import annotations

import re
import types
from typing import Any

import pytest
import torch
from fairseq import metrics, options
from fairseq.criterions.masked_lm import MaskedLmConfig, MaskedLmLoss
from fairseq.criterions.sentence_prediction import SentencePredictionConfig
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.tasks.masked_lm import MaskedLMTask

from tests.adapters import small_batches as small
from tupe_plugin.core.adversarial_methods import DEFAULTS, make_adversary
from tupe_plugin.criterions import adversarial_step
from tupe_plugin.criterions.adversarial import (
    AdversarialCriterion,
    AdversarialMaskedLM,
    AdversarialSentencePrediction,
)
from tupe_plugin.criterions.adversarial_options import AdversarialConfig
from tupe_plugin.criterions.loss_terms import term_of
from tupe_plugin.criterions.rdrop import RDropConfig, RDropCriterion
from tupe_plugin.criterions.sentence_prediction import WholeSetSentencePredictionCriterion

TASKS = ("classification", "regression", "masked_lm")
# (options, passes: a forward and a backward through each layer, the trainer's backward included)
COSTS = [
    ({"method": "attention"}, 3),
    ({"method": "attention", "site": "logits", "steps": 2}, 4),
    ({"method": "fgm"}, 2),
    ({"method": "pgd"}, 4),
    ({"method": "pgd", "init": "uniform"}, 5),
    ({"method": "freelb"}, 3),
    ({"method": "smart", "epsilon": 0.3, "step_size": 0.3}, 3),  # its own are tiny
]


def named(cases: list) -> list[str]:
    return [" ".join(map(str, case[0].values())) for case in cases]


every_cost = pytest.mark.parametrize(("given", "passes"), COSTS, ids=named(COSTS))
every_method = pytest.mark.parametrize("given", [case[0] for case in COSTS], ids=named(COSTS))
every_task = pytest.mark.parametrize("task", TASKS)


def config(task: str = "classification", alpha: float = 0.0, **given: Any) -> AdversarialConfig:
    return AdversarialConfig(
        regression_target=task == "regression",
        rdrop_alpha=alpha,
        tpu=False,
        ddp_backend="c10d",
        **{f"adv_{name}": value for name, value in given.items()},
    )


def adversarial(task: str = "classification", alpha: float = 0.0, **given: Any) -> Any:
    make = AdversarialMaskedLM if task == "masked_lm" else AdversarialSentencePrediction
    return make(config(task, alpha, **given), small.task(classes=classes(task))).train()


def plain(task: str) -> Any:
    made_for = small.task(classes=classes(task))
    if task == "masked_lm":
        return MaskedLmLoss(MaskedLmConfig(tpu=False), made_for).train()
    cfg = SentencePredictionConfig(regression_target=task == "regression")
    return WholeSetSentencePredictionCriterion(cfg, made_for).train()


def classes(task: str) -> int:
    return 1 if task == "regression" else 3


def batch(task: str) -> dict[str, Any]:
    return (
        small.masked_tokens()
        if task == "masked_lm"
        else small.sentences(regression=task == "regression")
    )


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    """fairseq computes losses in float32, whatever the model's type is."""
    got, expected = gradients(ours), gradients(theirs)
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


@every_cost
@pytest.mark.parametrize("alpha", [0.0, 0.5], ids=["", "rdrop"])
def test_each_pass_goes_once_forward_and_once_backward(given, passes, alpha) -> None:
    model, counted = small.model(), {"forward": 0, "backward": 0}
    layer = model.encoder.sentence_encoder.layers[1]
    layer.register_forward_hook(lambda *_: counted.update(forward=counted["forward"] + 1))
    layer.register_full_backward_hook(lambda *_: counted.update(backward=counted["backward"] + 1))
    adversarial(alpha=alpha, **given)(model, batch("classification"))[0].backward()
    assert counted == {"forward": passes, "backward": passes}


@every_task
@every_method
def test_zero_radius_trains_the_same_as_the_plain_criterion(task, given) -> None:
    """With dropout: all passes draw the same masks."""
    models = []
    for criterion in (plain(task), adversarial(task, **{**given, "epsilon": 0.0})):
        model = small.model(classes=classes(task))
        torch.manual_seed(3)
        loss, sample_size, log = criterion(model, batch(task))
        loss.backward()
        models.append((model, loss, sample_size, log, torch.get_rng_state()))
    (model, loss, size, log, state), (our_model, our_loss, our_size, our_log, our_state) = models
    assert our_loss.item() == pytest.approx(loss.item(), rel=1e-6)
    assert our_size == size
    assert {**our_log, "loss": 0}.items() >= {**log, "loss": 0}.items()
    assert_same_gradients(our_model, model)
    assert torch.equal(our_state, state)


@every_task
@every_method
def test_noise_changes_the_gradient_and_neither_model_nor_randomness(task, given) -> None:
    model, other = (small.model(classes=classes(task)) for _ in range(2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    states = []
    for criterion, trained in ((plain(task), other), (adversarial(task, **given), model)):
        torch.manual_seed(3)
        loss = criterion(trained, batch(task))[0]
        states.append(torch.get_rng_state())
        assert not gradients(trained)
        loss.backward()
    assert torch.equal(states[0], states[1])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert gradients(model).keys() == gradients(other).keys()
    changes = [
        (gradients(model)[name] - gradients(other)[name]).abs().max() for name in gradients(model)
    ]
    assert max(changes) > 1e-6
    assert not model.encoder.sentence_encoder.embed_tokens._forward_hooks


@every_task
@every_method
def test_a_step_can_be_repeated(task, given) -> None:
    """The first noise depends on the seed, and on nothing else."""
    losses = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        model = small.model(classes=classes(task), dropout=0.0)
        torch.manual_seed(seed)
        losses.append(adversarial(task, **given)(model, batch(task))[0].item())
    assert losses[0] == losses[1]
    if given.get("init", DEFAULTS[given["method"]].get("init", "zero")) == "zero":
        assert losses[0] == losses[2]


@every_task
@every_method
def test_validation_is_the_plain_criterions(task, given) -> None:
    model = small.model(classes=classes(task)).eval()
    results = []
    for criterion in (plain(task), adversarial(task, **given)):
        with torch.no_grad():
            loss, _, log = criterion.eval()(model, batch(task))
        with metrics.aggregate() as meters:
            criterion.reduce_metrics([log])
        results.append((loss, log.keys(), meters.get_smoothed_values()))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1:] == results[1][1:]


@every_task
@every_method
def test_frozen_parameters(task, given) -> None:
    """Noise on embeddings that are frozen, as with --bitfit-terms."""
    models = [small.model(classes=classes(task)) for _ in range(2)]
    for model in models:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
    for model, changed in zip(models, ({}, {"epsilon": 0.0}), strict=True):
        torch.manual_seed(3)
        adversarial(task, **{**given, **changed})(model, batch(task))[0].backward()
    assert all(name.endswith("bias") for name in gradients(models[0]))
    assert any(
        not torch.allclose(gradients(models[0])[name], gradients(models[1])[name], atol=1e-6)
        for name in gradients(models[0])
    )


@every_method
@pytest.mark.parametrize("task", ["classification", "masked_lm"])
def test_padding_changes_nothing(task, given) -> None:
    """The same batch with more padding; noise that is drawn would be another draw."""
    if given.get("init", DEFAULTS[given["method"]].get("init", "zero")) != "zero":
        given = {**given, "init_size": 1e-7}
    losses = []
    for extra in (0, 4):
        sample = batch(task)
        net_input = sample["net_input"]
        padding = torch.full((small.BATCH, extra), small.PAD)
        net_input["src_tokens"] = torch.cat([net_input["src_tokens"], padding], 1)
        if task == "masked_lm":
            sample["target"] = torch.cat([sample["target"], padding], 1)
        model = small.model(dropout=0.0)
        losses.append(adversarial(task, **given)(model, sample)[0].item())
    # the divergence's slope at (nearly) no noise is that of its curvature: any draw may decide
    exact = given["method"] in ("fgm", "pgd", "freelb")
    assert losses[0] == pytest.approx(losses[1], rel=1e-4 if exact else 0.2)


def test_both_tasks_get_their_criterion() -> None:
    for task, made in (
        ("classification", AdversarialSentencePrediction),
        ("masked_lm", AdversarialMaskedLM),
    ):
        of_fairseq = small.task()
        if task == "masked_lm":
            of_fairseq = MaskedLMTask.__new__(MaskedLMTask)
            of_fairseq.dictionary = small.dictionary()
        assert type(AdversarialCriterion.build_criterion(config(task), of_fairseq)) is made


@every_method
def test_a_masked_lm_batch_without_masks_weighs_nothing(given) -> None:
    model = small.model()
    loss, sample_size, _ = adversarial("masked_lm", **given)(
        model, small.masked_tokens(masked=False)
    )
    loss.backward()
    assert loss == 0
    assert sample_size == 0
    assert all(gradient.abs().max() == 0 for gradient in gradients(model).values())


# ---- together with R-Drop


@every_method
def test_zero_radius_with_rdrop_is_rdrop(given) -> None:
    models = []
    rdrop = RDropCriterion(RDropConfig(rdrop_alpha=0.5), small.task()).train()
    for criterion in (rdrop, adversarial(alpha=0.5, **{**given, "epsilon": 0.0})):
        model = small.model()
        torch.manual_seed(3)
        loss, sample_size, log = criterion(model, batch("classification"))
        loss.backward()
        models.append((model, loss.item(), sample_size))
        assert term_of(log, "rdrop_divergence") > 0
    assert models[1][1] == pytest.approx(models[0][1], rel=1e-6)
    assert models[0][2] == models[1][2] == small.BATCH
    assert_same_gradients(models[1][0], models[0][0])


@pytest.mark.parametrize("method", ["fgm", "pgd"])
def test_rdrop_without_dropout_changes_nothing(method) -> None:
    """Both copies are alike then, and so is their noise."""
    models = []
    for alpha in (0.0, 0.5):
        model = small.model(dropout=0.0)
        adversarial(alpha=alpha, method=method)(model, batch("classification"))[0].backward()
        models.append(model)
    assert_same_gradients(*models)


@pytest.mark.parametrize("method", ["attention", "smart"])
def test_the_divergence_is_averaged_over_the_copies(method, monkeypatch) -> None:
    """Without dropout and with the same first noise in both copies."""

    def same(empty: torch.Tensor, *, generator: Any) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        one = torch.randn(small.BATCH, *empty.shape[1:], generator=generator, dtype=empty.dtype)
        return empty.copy_(one.repeat(len(empty) // small.BATCH, *[1] * (empty.dim() - 1)))

    model, logs = small.model(dropout=0.0), []
    monkeypatch.setattr(torch.Tensor, "normal_", same)
    for alpha in (0.0, 0.5):
        logs.append(adversarial(alpha=alpha, method=method)(model, batch("classification"))[2])
    assert term_of(logs[0], "adversarial_loss") > 0
    torch.testing.assert_close(
        term_of(logs[0], "adversarial_loss"), term_of(logs[1], "adversarial_loss")
    )


# ---- options


def parsed(*flags: str, task: str = "masked_lm") -> Any:
    parser = options.get_training_parser(default_task=task)
    line = ["data", "--task", task, "--criterion", "adversarial", "--arch", "tupe_tiny", *flags]
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, line))


@pytest.mark.parametrize("task", ["sentence_prediction", "masked_lm"])
def test_options_arrive_with_both_tasks(task) -> None:
    flags = {
        "--adv-method": "smart",
        "--adv-epsilon": "0.3",
        "--adv-step-size": "0.2",
        "--adv-steps": "4",
        "--adv-norm": "l2",
        "--adv-weight": "0.7",
        "--adv-divergence": "detached",
        "--adv-init": "uniform",
        "--adv-init-size": "0.1",
        "--adv-site": "logits",
        "--adv-layers": "0,1",
        "--adv-unit": "absolute",
        "--adv-warmup-updates": "7",
        "--rdrop-alpha": "0.4",
    }
    cfg = parsed(*[word for pair in flags.items() for word in pair], task=task)
    for flag, value in flags.items():
        arrived = getattr(cfg.criterion, flag[2:].replace("-", "_"))
        assert str(arrived) == value, flag
    assert cfg.criterion.ddp_backend == "pytorch_ddp"
    if task == "sentence_prediction":
        assert cfg.task.classification_head_name == small.HEAD


OPTIONS = {
    "epsilon": 0.3,
    "step_size": 0.2,
    "steps": 3,
    "norm": "l2",
    "weight": 0.7,
    "divergence": "detached",
    "init": "uniform",
    "init_size": 0.1,
    "site": "logits",
    "layers": "0",
    "unit": "absolute",
}


@pytest.mark.parametrize("method", list(DEFAULTS))
@pytest.mark.parametrize("name", list(OPTIONS))
def test_an_option_is_used_or_refused(method, name) -> None:
    """Used: another value makes another loss, or pulls otherwise."""
    given = {name: OPTIONS[name]}
    if name not in DEFAULTS[method]:
        flag = f"--adv-{name.replace('_', '-')}"
        with pytest.raises(ValueError, match=f"{flag} is not used by --adv-method {method}: leave"):
            adversarial(method=method, **given)
        return
    # Noise large enough to be seen, and not all of it thrown back to the radius.
    base = {"epsilon": 5.0, "step_size": 0.5, "init_size": 0.3, "steps": 2, "norm": "linf"}
    base = {key: value for key, value in base.items() if key in DEFAULTS[method]}
    if method == "pgd":
        base["init"] = "normal"
    if (method, name) == ("pgd", "epsilon") or method in ("freelb", "smart"):
        given = {name: {"epsilon": 0.05}.get(name, OPTIONS[name])}
    if (method, name) == ("freelb", "init"):
        given = {"init": "normal"}
    model, losses = small.model(), []
    for options_ in (base, {**base, **given}):
        torch.manual_seed(3)
        criterion = adversarial(method=method, **options_)
        loss = criterion(model, batch("classification"))[0]
        pull = torch.autograd.grad(loss, model.classification_heads[small.HEAD].dense.weight)
        losses.append((loss.item(), pull[0].norm().item()))
    assert losses[0] != pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"init": "zero"}, "--adv-init zero: --adv-method attention follows the slope"),
        ({"method": "smart", "init": "zero"}, "--adv-init zero: --adv-method smart"),
        ({"method": "pgd", "init_size": 0.1}, "--adv-init-size is not used with --adv-init zero"),
    ],
)
def test_impossible_options_are_refused(given, message) -> None:
    with pytest.raises(ValueError, match=message):
        adversarial(**given)


def test_a_layer_that_the_encoder_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="--adv-layers 2: there is no layer 2"):
        adversarial(layers="2")(small.model(), batch("classification"))


@pytest.mark.parametrize("name", list(OPTIONS))
def test_help_names_the_methods_that_do_not_use_an_option(name) -> None:
    shown = AdversarialConfig.__dataclass_fields__[f"adv_{name}"].metadata["help"]
    defaults, _, refused = shown.partition("(default: ")[2].partition("; not used by ")
    for method, taken in DEFAULTS.items():
        assert bool(re.search(rf"\b{method}\b", defaults)) == (name in taken)
        assert bool(re.search(rf"\b{method}\b", refused)) == (name not in taken)


@pytest.mark.parametrize("method", list(DEFAULTS))
@pytest.mark.parametrize(
    ("given", "scheduler", "growths"),
    [
        (None, {"warmup_updates": 4}, [0, 0.25, 0.5, 0.75, 1, 1]),
        (None, {"cfg": {"warmup_steps": 2}}, [0, 0.5, 1, 1, 1, 1]),
        (None, {"cfg": {}}, [1]),
        (2, {"warmup_updates": 4}, [0, 0.5, 1]),
        (0, {"warmup_updates": 4}, [1]),
    ],
)
def test_noise_grows_with_the_learning_rate(method, given, scheduler, growths, monkeypatch) -> None:
    """Or over as many updates as asked for; at 0 a step is that of a radius of 0."""
    seen: list[float] = []
    original = adversarial_step.adversarial_loss

    def spy(*args: Any, growth: float, **named: Any) -> Any:
        seen.append(growth)
        return original(*args, growth=growth, **named)

    monkeypatch.setattr(adversarial_step, "adversarial_loss", spy)
    scheduler = {"cfg": {}, **scheduler}
    told = types.SimpleNamespace(**{**scheduler, "cfg": types.SimpleNamespace(**scheduler["cfg"])})
    criterion = adversarial(method=method, warmup_updates=given)
    still = adversarial(method=method, epsilon=0.0)
    for updates, growth in enumerate(growths):
        losses = []
        for made in (criterion, still):
            torch.manual_seed(3)
            made.before_update(updates, told)
            losses.append(made(small.model(), batch("classification"))[0].item())
        assert seen[-2] == growth
        assert (losses[0] == pytest.approx(losses[1], rel=1e-9)) == (growth == 0)


def test_an_unknown_method_is_no_other_method() -> None:
    """Not even where no parser has seen it, as in a configuration made by hand."""
    with pytest.raises(ValueError, match=r"--adv-method smrat: give one of attention, .*, smart$"):
        adversarial(method="smrat")
    with pytest.raises(ValueError, match="method smrat: give one of"):
        make_adversary("smrat")


def test_other_models_and_sharded_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="Linear has no encoder of a known family"):
        adversarial().begin(torch.nn.Linear(2, 2), None)
    cfg = config()
    cfg.ddp_backend = "fully_sharded"
    with pytest.raises(ValueError, match="--ddp-backend fully_sharded"):
        AdversarialSentencePrediction(cfg, small.task())
    with pytest.raises(ValueError, match="--regression-target does not go with --task masked_lm"):
        AdversarialMaskedLM(config("regression"), small.task())
