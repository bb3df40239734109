"""`--criterion adversarial`: its options. Its steps: `tests/contracts/test_criterions.py`."""

from __future__ import annotations

import re
import types
from typing import Any

import pytest
import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.optim import FairseqOptimizer
from fairseq.optim.lr_scheduler import LR_SCHEDULER_DATACLASS_REGISTRY, LR_SCHEDULER_REGISTRY

from tests.adapters import small_batches as small
from tupe_plugin.core.adversarial_methods import DEFAULTS, make_adversary, make_noise_site
from tupe_plugin.core.attention_backends import BACKENDS
from tupe_plugin.criterions import adversarial_step
from tupe_plugin.criterions.adversarial_options import AdversarialConfig
from tupe_plugin.criterions.loss_terms import term_of


def adversarial(kind: str = "classification", **given: Any) -> Any:
    named = {f"adv_{name}": value for name, value in given.items()}
    return small.criterion("adversarial", kind, **named)


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
        made = small.criterion("adversarial", adv_method=method, rdrop_alpha=alpha)
        logs.append(made(model, small.sentences())[2])
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
        loss = criterion(model, small.sentences())[0]
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
        adversarial(layers="2")(small.model(), small.sentences())


@pytest.mark.parametrize("layers", [None, "0"])
def test_a_backend_without_noise_on_the_logits_is_refused_before_training(layers) -> None:
    model = small.model()
    for layer in model.encoder.sentence_encoder.layers:
        layer.self_attn.attention = BACKENDS["triton"]
    with pytest.raises(ValueError, match=r"^triton takes no noise on the attention logits: choose"):
        adversarial(site="logits", layers=layers).begin(model, None)
    assert "noise" in adversarial(site="weights", layers=layers).begin(model, None)


@pytest.mark.parametrize("name", list(OPTIONS))
def test_help_names_the_methods_that_do_not_use_an_option(name) -> None:
    shown = AdversarialConfig.__dataclass_fields__[f"adv_{name}"].metadata["help"]
    defaults, _, refused = shown.partition("(default: ")[2].partition("; not used by ")
    for method, taken in DEFAULTS.items():
        assert bool(re.search(rf"\b{method}\b", defaults)) == (name in taken)
        assert bool(re.search(rf"\b{method}\b", refused)) == (name not in taken)


SCHEDULERS = {
    "polynomial_decay": ({"warmup_updates": 4}, 4),
    "inverse_sqrt": ({"warmup_updates": 3}, 3),
    "cosine": ({"warmup_updates": 3, "max_update": 9}, 3),
    "fixed": ({"warmup_updates": 3}, 3),
    "reduce_lr_on_plateau": ({"warmup_updates": 3}, 3),
    "step": ({"warmup_updates": 3}, 3),
    "tri_stage": ({"phase_ratio": (0.2, 0.3, 0.5), "max_update": 10, "final_lr_scale": 0.1}, 2),
    "triangular": ({"max_lr": 1.0}, 0),
    "manual": ({}, 0),
}


def scheduler(name: str, **given: Any) -> Any:
    """One of fairseq's, made as its trainer makes it."""
    dataclass = LR_SCHEDULER_DATACLASS_REGISTRY.get(name)
    defaults = {"epoch2lr": "{}", "update2lr": "{}"} if dataclass is None else vars(dataclass())
    job = {"lr": [0.1], "max_update": 9, "total_num_update": 9}
    cfg = types.SimpleNamespace(**{**defaults, **job, **given})
    optimizer = FairseqOptimizer(None)
    optimizer._optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    return LR_SCHEDULER_REGISTRY[name](cfg, optimizer)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_warmup_of_each_scheduler_of_fairseqs_is_found(name) -> None:
    given, updates = SCHEDULERS[name]
    assert adversarial_step.warmup_updates_of(scheduler(name, **given)) == updates


@pytest.mark.parametrize("method", list(DEFAULTS))
@pytest.mark.parametrize(
    ("given", "growths"), [(None, [0, 0.25, 0.5, 0.75, 1, 1]), (2, [0, 0.5, 1]), (0, [1])]
)
def test_noise_grows_with_the_learning_rate(method, given, growths, monkeypatch) -> None:
    """Or over as many updates as asked for; at 0 a step is that of a radius of 0."""
    seen: list[float] = []
    original = adversarial_step.adversarial_loss

    def spy(*args: Any, growth: float, **named: Any) -> Any:
        seen.append(growth)
        return original(*args, growth=growth, **named)

    monkeypatch.setattr(adversarial_step, "adversarial_loss", spy)
    told = scheduler("polynomial_decay", warmup_updates=4)
    criterion = adversarial(method=method, warmup_updates=given)
    still = adversarial(method=method, epsilon=0.0)
    model = small.model()
    for updates, growth in enumerate(growths):
        losses = []
        for made in (criterion, still):
            torch.manual_seed(3)
            made.before_update(updates, told)
            losses.append(made(model, small.sentences())[0].item())
        assert seen[-2] == growth
        assert (losses[0] == pytest.approx(losses[1], rel=1e-9)) == (growth == 0)


def test_a_job_from_before_sizes_were_relative_says_which_it_means() -> None:
    with pytest.raises(ValueError, match="go on with --adv-unit absolute --adv-warmup-updates 0"):
        adversarial().begin(small.model(), {"train_iterator": {}})
    adversarial(unit="absolute", warmup_updates=0).begin(small.model(), {})
    relative = adversarial()
    assert relative.begin(small.model(), relative.kept_state()).endswith("radius 0.03, relative")


def test_the_log_says_that_rounding_hides_small_noise() -> None:
    """Of a sentence's words; what is added in float32, as in the attention, is not rounded away."""
    narrow = small.model().bfloat16()
    assert "lost to the rounding of bfloat16" in adversarial(method="fgm").begin(narrow, None)
    for whole in (
        adversarial(method="fgm", epsilon=0.1),
        adversarial(),
        adversarial(method="smart"),
        adversarial(method="smart", norm="l2"),  # a token has all of its noise
    ):
        assert "lost" not in whole.begin(narrow, None)
    assert "lost" not in adversarial(method="fgm").begin(small.model().half(), None)


@pytest.mark.parametrize("units", [("relative", "absolute"), ("absolute", "relative")])
def test_a_method_and_a_site_of_other_units_are_refused(units) -> None:
    model = small.model()
    adversary = make_adversary("fgm", unit=units[0])
    site = make_noise_site("fgm", model, unit=units[1])
    with pytest.raises(ValueError, match=f"sizes are {units[0]} and the site's {units[1]}: make"):
        adversarial_step.adversarial_loss(
            adversary,
            site,
            lambda: None,
            lambda p: p,
            tokens=small.tokens(),
            parameters=model.parameters(),
        )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"growth": 1.5}, "growth=1.5: give a number from 0 to 1"),
        ({"growth": float("nan")}, "growth=nan: give"),
        ({"parameters": []}, "parameters: none of them trains"),
    ],
)
def test_a_step_in_python_refuses_what_it_cannot_use(given, said) -> None:
    model = small.model()
    given = {"tokens": small.tokens(), "parameters": model.parameters(), **given}
    method, site = make_adversary("fgm"), make_noise_site("fgm", model)
    with pytest.raises(ValueError, match=said):
        adversarial_step.adversarial_loss(method, site, lambda: None, lambda p: p, **given)


def test_an_unknown_method_is_no_other_method() -> None:
    """Not even where no parser has seen it, as in a configuration made by hand."""
    with pytest.raises(ValueError, match=r"--adv-method smrat: give one of attention, .*, smart$"):
        adversarial(method="smrat")
    with pytest.raises(ValueError, match="method smrat: give one of"):
        make_adversary("smrat")


def test_other_models_and_sharded_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="Linear has no encoder of a known family"):
        adversarial().begin(torch.nn.Linear(2, 2), None)
    with pytest.raises(ValueError, match="--ddp-backend fully_sharded"):
        small.criterion("adversarial", ddp_backend="fully_sharded")
    with pytest.raises(ValueError, match="--regression-target does not go with --task masked_lm"):
        small.criterion("adversarial", "masked_lm", regression_target=True)
