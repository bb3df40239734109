"""Every option of ours has a bound: edges are taken, and what lies beyond is refused by flag."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import math
import pickle
import typing
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from fairseq import options
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.initialize import add_defaults
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.distributed import utils as distributed_utils
from fairseq.models import MODEL_REGISTRY
from fairseq.registry import REGISTRIES
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from tupe_plugin.compat.refused_job import RefusedJobError
from tupe_plugin.core.bounds import Anything, Bound, Each, Number, Text, Whole, flag

# What `parse` of a bound takes and refuses, by the option's name.
TEXTS = {
    "adam_betas": (
        ["(0.9, 0.999)", "[0,0.5]", (0.9, 0.98)],
        ["", "()", "0.9", "(0.9,)", "(1.0,0.999)", "(-1,2)", "(0.9,nan)", "(0.9,1e400)", "f(1)"],
    ),
    "adv_layers": (["all", "0", " 5,0"], ["", "0,,", "0,x", "-1", "1.5", "all,0"]),
    "bitfit_terms": (["all", "query", "output, query"], ["", ",", "query,,", "querry", "a;b"]),
    "mfac_device": (["cpu", "cuda:1"], ["", "gpu", "cpu,"]),
}
STRANGE = [math.nan, math.inf, -math.inf, 10**400, "word", "", [1], None, True]


class Option(NamedTuple):
    """An option that one of our configurations declares."""

    part: type
    field: dataclasses.Field[Any]

    @property
    def bound(self) -> Bound | None:
        return self.field.metadata.get("bound")


def our_options() -> Iterator[Option]:
    registries = [MODEL_REGISTRY, *(entry["registry"] for entry in REGISTRIES.values())]
    for part in (part for registry in registries for part in registry.values()):
        configuration = getattr(part, "__dataclass", None)
        if configuration is None or not part.__module__.startswith("tupe_plugin."):
            continue
        ours = [c for c in configuration.__mro__ if c.__module__.startswith("tupe_plugin.")]
        names = {name for c in ours for name in c.__annotations__}
        yield from (Option(part, f) for f in dataclasses.fields(configuration) if f.name in names)


every_bound = pytest.mark.parametrize(
    "option",
    [option for option in our_options() if option.bound is not None],
    ids=lambda option: f"{option.part.__name__} {flag(option.field.name)}",
)


def is_bounded_by_its_type(declared: Any) -> bool:
    kinds = [kind for kind in typing.get_args(declared) if kind is not type(None)] or [declared]
    return all(kind is bool or issubclass(kind, enum.Enum) for kind in kinds)


def test_every_option_has_a_bound_or_a_reason_for_none() -> None:
    seen = list(our_options())
    assert {option.field.name for option in seen} > set(TEXTS)
    for part, declared in seen:
        if "bound" in declared.metadata:
            assert getattr(declared.metadata["bound"], "reason", "said by its kind")
            continue
        kind = declared.type
        if isinstance(declared.default, str) and declared.default.startswith("${"):  # fairseq's
            group, name = declared.default.strip("${}").split(".")
            kind = typing.get_type_hints(typing.get_type_hints(FairseqConfig)[group])[name]
        assert is_bounded_by_its_type(kind), f"{part.__name__}: {flag(declared.name)}"


def inside_and_outside(name: str, bound: Bound | None) -> tuple[list[Any], list[Any]]:
    if isinstance(bound, Number):
        low, high = bound.low, bound.high
        inside = [math.nextafter(low, high), math.nextafter(high, low)]
        below, above = [math.nextafter(low, -math.inf)], [math.nextafter(high, math.inf), 1e39]
        (below if bound.open_below else inside).append(low)
        (above if bound.open_above else inside).append(high)
        return inside, [*below, *above, *STRANGE]
    if isinstance(bound, Whole):
        step = 2 if bound.even else 1
        inside = [bound.low, bound.low + step, bound.high]
        odd = [bound.low + 1] if bound.even else []
        return inside, [bound.low - step, bound.high + step, *odd, bound.low + 0.5, *STRANGE]
    if isinstance(bound, Each):
        inside, outside = inside_and_outside(name, bound.bound)
        return [[good] for good in inside], [[], *([inside[0], bad] for bad in outside), 1]
    if isinstance(bound, Text):
        return TEXTS[name]
    assert isinstance(bound, Anything)
    return [math.inf, -1], []


def answer(part: type, **values: Any) -> str:
    """What the part says to its own defaults with these values; empty if nothing."""
    defaults = {f.name: f.default for f in dataclasses.fields(part.__dataclass)}
    defaults |= {"lr": [0.1], "max_epoch": 1, "max_update": 0, "ddp_backend": "c10d"}
    defaults |= {"zero_sharding": "none", "use_bmuf": False}
    try:
        part.check_options(SimpleNamespace(**defaults | values))
    except ValueError as error:
        return str(error)
    return ""


@every_bound
def test_edges_are_taken_and_what_lies_beyond_is_refused(option: Option) -> None:
    name, bound = option.field.name, option.bound
    assert option.field.metadata.get("help", f"[{bound}]").endswith(f"[{bound}]")
    inside, outside = inside_and_outside(name, bound)
    for value in inside:
        assert not answer(option.part, **{name: value}).startswith(f"{flag(name)} {value}: give"), (
            value
        )
    for value in outside:
        if value is None and option.field.default is None:
            assert answer(option.part, **{name: value}) == ""
            continue
        message = answer(option.part, **{name: value})
        assert message.startswith(f"{flag(name)} "), value
        assert " give " in message, value
        assert "\n" not in message


def test_a_bound_is_an_argparse_type(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=Whole(1, 9))
    parser.add_argument("--share", type=Number(0, 1, open_below=True))
    assert vars(parser.parse_args(["--size", "9", "--share", "1"])) == {"size": 9, "share": 1.0}
    for arguments, message in (
        (["--size", "ten"], "argument --size: give a whole number from 1 to 9, not ten"),
        (["--share", "0"], "argument --share: give a number above 0 and up to 1, not 0"),
    ):
        with pytest.raises(SystemExit):
            parser.parse_args(arguments)
        assert capsys.readouterr().err.splitlines()[-1].endswith(message)


# ---- before the job, from the command line and from hydra


def from_command_line(*flags: str) -> Any:
    base = ["data", "--task", "sentence_prediction", "--criterion", "adversarial"]
    base += ["--arch", "tupe_tiny", "--optimizer", "mfac", "--lr-scheduler", "warmup_ratio"]
    parser = options.get_training_parser()
    args = options.parse_args_and_arch(parser, [*base, "--max-epoch", "1", *flags])
    return convert_namespace_to_omegaconf(args)


def from_hydra(*overrides: str) -> Any:
    """As `fairseq-hydra-train` does it."""
    parts = ["task=sentence_prediction", "criterion=adversarial", "+model._name=tupe_tiny"]
    parts += ["optimizer=mfac", "lr_scheduler=warmup_ratio", "optimization.max_epoch=1"]
    with initialize_config_module("fairseq.config", version_base="1.1"):
        cfg = compose("config", overrides=[*parts, *overrides])
    add_defaults(cfg)
    return OmegaConf.create(OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))


@pytest.mark.parametrize(
    ("configured", "one_off", "message"),
    [
        (from_command_line, "--power nan", "--power nan: give a number from 0 to 100"),
        (from_hydra, "optimizer.mfac_damping=0", "--mfac-damping 0.0: give a number from 1e-12"),
    ],
)
def test_a_job_with_an_impossible_option_ends_in_one_line(
    configured: Any, one_off: str, message: str
) -> None:
    with pytest.raises(RefusedJobError) as ended:
        distributed_utils.call_main(configured(*one_off.split(" ")), lambda _: pytest.fail("began"))
    assert str(ended.value).startswith(message)
    assert "\n" not in str(ended.value)


# Options of fairseq that every job has; no part of ours declares them.
OF_EVERY_JOB = {
    "--update-freq": ["0", "-1", "1,0", "[]", "", "1e400", "2.5", f"{10**30}", "\u0661", "f(1)"],
    "--lr": ["", "[]", "()", "1e400", "1e39", "-1", "0.1,nan"],
    "--clip-norm": ["nan", "-1", "inf"],
    "--adam-betas": ["(1.0,0.999)", "0.9", "(0.9,nan)", ""],
    "--adam-eps": ["nan", "-1"],
    "--weight-decay": ["inf", "-1"],
    "--max-epoch": ["-1"],
    "--max-update": ["-1"],
    "--batch-size": ["0", "-1"],
    "--max-tokens": ["0"],
    "--validate-interval": ["0"],
    "--save-interval": ["0"],
    "--valid-subset": ["valid,", ""],
    "--train-subset": [""],
    "--num-workers": ["-1"],
    "--required-batch-size-multiple": ["0"],
    "--log-interval": ["0"],
    "--seed": ["-1", "4294967296"],
}


@pytest.mark.slow  # each parses a job
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OF_EVERY_JOB.items() for value in values]
)
def test_options_of_every_job_have_bounds(name: str, value: str, capsys) -> None:
    fixed = ["--optimizer", "adam", "--lr-scheduler", "fixed", "--criterion", "sentence_prediction"]
    with pytest.raises((SystemExit, RefusedJobError)) as ended:  # by the parser, or after it
        distributed_utils.call_main(from_command_line(*fixed, f"{name}={value}"), print)
    parsed = isinstance(ended.value, RefusedJobError)
    line = str(ended.value) if parsed else capsys.readouterr().err.splitlines()[-1]
    assert name in line
    assert " give " in line
    assert "\n" not in line


def test_a_criterion_of_another_task_is_named() -> None:
    with pytest.raises(SystemExit, match="does not go with --criterion sentence_ranking"):
        from_command_line("--criterion", "sentence_ranking")


def test_parts_are_asked_that_a_job_of_hydra_imports_late(tmp_path: Path) -> None:
    (tmp_path / "late_part").mkdir()
    (tmp_path / "late_part" / "__init__.py").write_text(
        "from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler\n"
        "@register_lr_scheduler('late')\n"
        "class Late(FairseqLRScheduler):\n"
        "    def check_options(cfg):\n"
        "        raise ValueError(f'--late {cfg.late}: give 2')\n"
    )
    cfg = from_hydra(f"common.user_dir={tmp_path / 'late_part'}")
    cfg.lr_scheduler = {"_name": "late", "late": 1}
    with pytest.raises(RefusedJobError, match=r"^--late 1: give 2$"):
        distributed_utils.call_main(cfg, lambda _: pytest.fail("began"))


@pytest.mark.parametrize("configured", [from_command_line, from_hydra])
def test_a_job_with_defaults_begins(configured: Any) -> None:
    began: list[Any] = []
    distributed_utils.call_main(configured(), began.append)
    assert len(began) == 1
    assert pickle.loads(pickle.dumps(began)) == began  # fairseq sends it to the workers it starts
