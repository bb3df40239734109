"""What a sweep is asked for: its file, or the words of a command line, checked.

tasks = ["CoLA", "MRPC"]            of GLUE, or of your own, described in [task.NAME]
data = "data/glue"                  the folder that `tupe data task` wrote
models.small = "runs/books"         a checkpoint, a folder with one, or "none"; or a table with
                                    `checkpoint` and further options, such as `arch`
strategies = ["plain", "rdrop+layer-decay"]       of presets.toml, or of [strategy.NAME]
                                    (default: those of [strategy.NAME], else plain)
lr = [2e-5, 3e-5]                   for strategies that have no rates of their own
seeds = 5                           1 to 5, or a list
search-seeds = 1                    so many of them search rates and settings; the best of each
                                    strategy alone gets the others (default: all get all)
folder = "runs/sweep"               where everything is written
preset = "tupe"                     another such file beneath this one
keep = "none"                       of each run's checkpoints: "none", "best", "all"
jobs = 2                            runs at a time (default: one for each GPU, else one)
retries = 2                         of a run that fails or is killed
most-runs = 1000                    a sweep of more is refused
[options]                           of fairseq-train, for every run
[task.NAME]                         options for one task; and data, classes, regression, metric
[strategy.NAME]                     options; those that are lists are searched; and what
                                    presets.toml explains
[slurm]                             run there: partition, hours, gpus, cpus, memory_gb, account,
                                    qos, constraint, at_once, setup
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.bounds import Number, Whole
from .option_words import Options, repetition
from .presets import laid_over, load_presets, preset
from .run_checkpoints import KEEP
from .run_record import SEED
from .strategy import PLAIN, Strategy, StrategyError, rates_of, strategy_called

SEEDS = Whole(1, 1_000)
JOBS = Whole(1, 1_000)
RETRIES = Whole(0, 100)
RUNS = Whole(1, 10_000_000)
MOST_RUNS = 1_000  # unless more are asked for
CLASSES = Whole(2, 1_000_000)
NO_CHECKPOINT = "none"
SLURM: dict[str, tuple[type, Any]] = {  # key -> what it is, and within which bounds
    "partition": (str, None),
    "account": (str, None),
    "qos": (str, None),
    "constraint": (str, None),
    "hours": (float, Number(0.01, 10_000)),
    "gpus": (int, Whole(0, 64)),
    "cpus": (int, Whole(1, 1_024)),
    "memory_gb": (float, Number(0.1, 100_000)),
    "at_once": (int, Whole(1, 10_000)),
    "setup": (list, None),
}


class SpecError(ValueError):
    """A sweep cannot be what it is asked to be; the message names the key."""


@dataclass(frozen=True)
class Model:
    """What a run begins with."""

    checkpoint: Path | None
    options: Options


@dataclass(frozen=True)
class TaskSettings:
    """What a sweep says of one task, beside what GLUE's table says."""

    data: Path | None
    classes: int | None
    regression: bool
    metric: str | None
    options: Options


@dataclass(frozen=True)
class Spec:
    """One sweep; the fields are described above."""

    tasks: tuple[str, ...]
    data: Path | None
    models: dict[str, Model]
    strategies: tuple[Strategy, ...]
    lr: tuple[float, ...]
    lr_of_all: bool
    """Whether `lr` counts more than a strategy's own rates."""
    seeds: tuple[int, ...]
    search_seeds: tuple[int, ...]
    """Those with which rates and settings are searched."""
    folder: Path
    keep: str
    jobs: int | None
    retries: int
    most_runs: int
    options: Options
    task: dict[str, TaskSettings]
    slurm: dict[str, Any] | None


def spec_of(file: Mapping[str, Any], given: Mapping[str, Any], where: str = "") -> Spec:
    """The sweep of a file and of a command line, which counts more.

    Args:
        file: its tables.
        given: entries of the same names, from flags; with `lr` for all strategies.
        where: the file's name, for messages.

    Raises:
        SpecError: a key is unknown or missing, or its value is of no use.
    """
    own = laid_over(file, given)
    entries = laid_over(preset(_text("preset", own["preset"])), own) if "preset" in own else own

    def check(key: str, of: Callable[[str, Any], Any], default: Any = None) -> Any:
        if key not in entries:
            return default
        flag, place = f"--{key}", f"{where}: {key}" if where else key
        return of(flag if key in given else place, entries[key])

    prefix = f"{where}: " if where else ""
    for key in entries:
        if key not in _KEYS:
            raise SpecError(f"{prefix}{key} is not known; the keys are {', '.join(_KEYS)}")
    for key, advice in (("tasks", "name some"), ("models", "give one"), ("folder", "give one")):
        if not entries.get(key):
            flag = {"tasks": "--tasks", "models": "--model", "folder": "-o"}[key]
            raise SpecError(f"{prefix}there is no `{key}`: {advice} there, or with {flag}")
    known = laid_over(load_presets()["strategy"], check("strategy", _table, {}))
    usual = _names(f"{prefix}strategy", list(own.get("strategy", {})) or [PLAIN])
    try:
        strategies = tuple(
            strategy_called(one, known) for one in check("strategies", _names, usual)
        )
    except StrategyError as error:
        raise SpecError(f"{prefix}{error}") from error
    lr = check("lr", _rates, ())
    seeds = check("seeds", _seeds, (1,))
    search = check("search-seeds", _whole(SEEDS), len(seeds))
    if search > len(seeds):
        raise SpecError(f"{prefix}search-seeds is {search}, and seeds are {len(seeds)}: give fewer")
    bare = [one.name for one in strategies if not (lr or one.lr)]
    if bare:
        raise SpecError(f"{prefix}there is no `lr`, and {bare[0]} has none of its own: give rates")
    return Spec(
        tasks=check("tasks", _names),
        data=check("data", _path),
        models={
            _name("models", name): _model(f"{prefix}models.{name}", value)
            for name, value in check("models", _table).items()
        },
        strategies=strategies,
        lr=lr,
        lr_of_all="lr" in given,
        seeds=seeds,
        search_seeds=seeds[:search],
        folder=check("folder", _path),
        keep=check("keep", _keep, "none"),
        jobs=check("jobs", _whole(JOBS)),
        retries=check("retries", _whole(RETRIES), 2),
        most_runs=check("most-runs", _whole(RUNS), MOST_RUNS),
        options=check("options", _options, {}),
        task={
            name: _task(f"{prefix}task.{name}", value)
            for name, value in check("task", _table, {}).items()
        },
        slurm=check("slurm", _slurm),
    )


_KEYS = (
    *("tasks", "data", "models", "strategies", "lr", "seeds", "search-seeds", "folder", "preset"),
    *("keep", "jobs", "retries", "most-runs", "options", "task", "strategy", "slurm"),
)


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise SpecError(f"{key}: give a text, not {value!r}")
    return value


def _path(key: str, value: Any) -> Path:
    return Path(_text(key, value))


def _table(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SpecError(f"{key}: give a table, not {value!r}")
    return value


def _names(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise SpecError(f'{key}: give a list of names, such as ["CoLA"], not {value!r}')
    return tuple(_name(key, one) for one in _once(key, value))


def _name(key: str, value: str) -> str:
    """It becomes the name of a folder."""
    if not re.fullmatch(r"\w[\w.+-]*", value):
        raise SpecError(f"{key}: {value!r} is no name: give letters, digits, - . +")
    return value


def _rates(key: str, value: Any) -> tuple[float, ...]:
    try:
        return rates_of(key, value)
    except StrategyError as error:
        raise SpecError(str(error)) from error


def _seeds(key: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        return tuple(range(1, _whole(SEEDS)(key, value) + 1))
    if not value:
        raise SpecError(f"{key}: give one seed or more")
    return _once(key, [_whole(SEED)(key, one) for one in value])


def _once(key: str, values: list[Any]) -> tuple[Any, ...]:
    if problem := repetition(list(map(repr, values))):
        raise SpecError(f"{key}: {problem}")
    return tuple(values)


def _keep(key: str, value: Any) -> str:
    if value not in list(KEEP):
        raise SpecError(f"{key}: give one of {', '.join(KEEP)}, not {value!r}")
    return value


def _whole(bound: Whole) -> Callable[[str, Any], int]:
    def check(key: str, value: Any) -> int:
        problem = bound.problem(value)
        if problem is not None:
            raise SpecError(f"{key}: {problem}, not {value!r}")
        return value

    return check


def _options(key: str, value: Any) -> Options:
    for name, one in _table(key, value).items():
        if not isinstance(one, str | int | float):
            raise SpecError(f"{key}.{name}: give a text, a number, true or false, not {one!r}")
    return value


def _model(key: str, value: Any) -> Model:
    entries = {"checkpoint": value} if isinstance(value, str) else _table(key, value)
    checkpoint = _text(f"{key}.checkpoint", entries.get("checkpoint"))
    rest = {name: one for name, one in entries.items() if name != "checkpoint"}
    return Model(
        checkpoint=None if checkpoint == NO_CHECKPOINT else Path(checkpoint),
        options=_options(key, rest),
    )


def _task(key: str, value: Any) -> TaskSettings:
    own = ("data", "classes", "regression", "metric")
    entries = _table(key, value)
    regression = entries.get("regression", False)
    if not isinstance(regression, bool):
        raise SpecError(f"{key}.regression: give true or false, not {regression!r}")
    classes, data, metric = (entries.get(name) for name in ("classes", "data", "metric"))
    return TaskSettings(
        data=None if data is None else _path(f"{key}.data", data),
        classes=None if classes is None else _whole(CLASSES)(f"{key}.classes", classes),
        regression=regression,
        metric=None if metric is None else _text(f"{key}.metric", metric),
        options=_options(key, {name: one for name, one in entries.items() if name not in own}),
    )


def _slurm(key: str, value: Any) -> dict[str, Any]:
    for name, one in _table(key, value).items():
        if name not in SLURM:
            raise SpecError(f"{key}.{name} is not known; the keys are {', '.join(SLURM)}")
        kind, bound = SLURM[name]
        kinds = (int, float) if kind is float else (kind,)
        if isinstance(one, bool) or not isinstance(one, kinds):
            raise SpecError(f"{key}.{name}: give a {kind.__name__}, not {one!r}")
        if isinstance(one, list) and not all(isinstance(line, str) for line in one):
            raise SpecError(f"{key}.{name}: give a list of lines of a shell, not {one!r}")
        if bound is not None and bound.problem(one) is not None:
            raise SpecError(f"{key}.{name}: {bound.problem(one)}, not {one!r}")
    return value
