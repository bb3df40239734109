"""A sweep as its runs: tasks x models x strategies x settings x rates x seeds.

    FOLDER/TASK/MODEL/STRATEGY/[SETTING,]lrRATE/seedN/     run.json, train.log, kept checkpoints

A run is known by its key, a hash of everything that decides its scores: the options of its command,
its data and the checkpoint that it begins with, by what they hold and not by where they lie.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..compat.metric_direction import Metric
from ..data.input_files import sha256_of
from .model_options import checkpoint_of, model_options
from .option_words import Options, shown
from .recipe import command, fine_tuning, from_scratch
from .spec import Spec, SpecError
from .strategy import Strategy
from .sweep_task import SweepTask, files_that_tell_data_apart, refuse_unknown_tasks, sweep_task

AVERAGE = "average.pt"

# What is written and how often, and how work is spread over processes.
WITHOUT_EFFECT_ON_SCORES = frozenset(
    {
        *("log-format", "log-interval", "log-file", "tensorboard-logdir", "no-progress-bar"),
        *(
            "save-dir",
            "no-save",
            "no-epoch-checkpoints",
            "no-last-checkpoints",
            "no-save-optimizer-state",
        ),
        *("keep-last-epochs", "keep-best-checkpoints", "keep-interval-updates", "save-interval"),
        *("save-interval-updates", "num-workers", "user-dir", "restore-file", "distributed-port"),
        "find-unused-parameters",
    }
)

OF_EACH_RUN = {  # option of fairseq-train -> the key of a sweep that decides it
    "lr": "lr",
    "seed": "seeds",
    "save-dir": "folder",
    "log-file": "folder",
    "restore-file": "models",
}


@dataclass(frozen=True)
class Run:
    """One run: a command, and the folder in which it writes."""

    task: str
    model: str
    strategy: str
    lr: float
    seed: int
    setting: Options
    folder: Path
    command: tuple[str, ...]
    configuration: Options
    metric: Metric
    key: str
    data: Path
    parent: Run | None = None
    """The run of whose last epochs it is the average; None: it is trained."""

    @property
    def name(self) -> str:
        """For people: the folder, in words."""
        setting = [f"{name} {shown(value)}" for name, value in self.setting.items()]
        words = [self.task, self.model, self.strategy, *setting, f"lr {shown(self.lr)}"]
        return ", ".join([*words, f"seed {self.seed}"])


def all_runs(spec: Spec) -> list[Run]:
    """In the order in which they are to be run; the parent of an average comes before it.

    Raises:
        SpecError: a task is unknown or has no data; there are too many runs.
        ModelError, CheckpointError: a model cannot be used.
        UnknownOptimizerError: the recipe does not know an optimizer.
    """
    _refuse_too_many(spec)
    runs: list[Run] = []
    tasks = [sweep_task(name, spec) for name in spec.tasks]
    refuse_unknown_tasks(spec)
    for task in tasks:
        for model in spec.models:
            checkpoint, options = _model(spec, model)
            for trained, made_of_it in _trained_strategies(spec):
                last = max((one.average_last for one in made_of_it), default=0)
                for run in _trained(spec, task, model, checkpoint, options, trained, last):
                    runs += [run, *(_average(spec, run, one) for one in made_of_it)]
    return runs


def _trained_strategies(spec: Spec) -> list[tuple[Strategy, list[Strategy]]]:
    """Each once, and the averages that are made of its runs."""
    trained = {one.name: one for one in (one.parent or one for one in spec.strategies)}
    return [
        (one, [average for average in spec.strategies if average.parent == one])
        for one in trained.values()
    ]


def _refuse_too_many(spec: Spec) -> None:
    """Before any is made: a number that has slipped is seen at once.

    Raises:
        SpecError: there are more than the sweep may have.
    """
    trained = _trained_strategies(spec)
    of_a_seed = sum(
        math.prod(map(len, one.searched.values())) * len(_rates_of(spec, one)) * (1 + len(averages))
        for one, averages in trained
    )
    # The best average may be of another run than the best of its strategy.
    of_the_best = sum(1 + 2 * len(averages) for _, averages in trained)
    tasks, models, seeds = (len(axis) for axis in (spec.tasks, spec.models, spec.seeds))
    search = len(spec.search_seeds)
    number = tasks * models * (of_a_seed * search + min(of_a_seed, of_the_best) * (seeds - search))
    if number > spec.most_runs:
        raise SpecError(
            f"these would be {number:,} runs (tasks: {tasks}, models: {models}, strategies with "
            f"their rates and settings: {of_a_seed}, seeds: {seeds}"
            + f", of which {search} search" * (search < seeds)
            + f"), and most-runs is {spec.most_runs:,}: give less of these, or --most-runs {number}"
        )


def _rates_of(spec: Spec, strategy: Strategy) -> tuple[float, ...]:
    return spec.lr if spec.lr_of_all else strategy.lr or spec.lr


def _trained(
    spec: Spec,
    task: SweepTask,
    model: str,
    checkpoint: Path | None,
    model_settings: Options,
    strategy: Strategy,
    last_epochs: int,
) -> Iterator[Run]:
    kept: Options = {"no-epoch-checkpoints": spec.keep != "all"}
    if last_epochs and spec.keep != "all":
        kept = {"no-epoch-checkpoints": False, "keep-last-epochs": last_epochs}
    own_of_task = spec.task[task.name].options if task.name in spec.task else {}
    more = (own_of_task, strategy.options, strategy.task.get(task.name, {}))
    _refuse_what_is_searched(
        {
            f"models.{model}": spec.models[model].options,
            "options": spec.options,
            f"task.{task.name}": own_of_task,
            f"strategy {strategy.name!r}": {**strategy.options, **strategy.searched},
            f"strategy {strategy.name!r}, task.{task.name}": strategy.task.get(task.name, {}),
        }
    )
    for setting, lr, seed in itertools.product(
        strategy.settings(), _rates_of(spec, strategy), spec.seeds
    ):
        searched: Options = {**setting, "lr": lr, "seed": seed}
        options = fine_tuning(
            task.name, task.options, model_settings, kept, spec.options, *more, searched
        )
        run = Run(
            task=task.name,
            model=model,
            strategy=strategy.name,
            lr=lr,
            seed=seed,
            setting=setting,
            folder=Path(),
            command=(),
            configuration=options,
            metric=task.metric,
            key=key_of_training(options, task.data, checkpoint),
            data=task.data,
        )
        folder = _folder(spec, run, strategy.name)
        words = command(task.data, checkpoint, folder, options)
        yield replace(run, folder=folder, command=tuple(words))


def _refuse_what_is_searched(places: Mapping[str, Mapping[str, Any]]) -> None:
    """Each run has its own value of these: another one would be lost, or count unseen.

    Raises:
        SpecError: a place gives one.
    """
    for place, options in places.items():
        for option, key in OF_EACH_RUN.items():
            if option in options:
                raise SpecError(f"{place}: {option} is another for each run: give `{key}` instead")


def _average(spec: Spec, parent: Run, strategy: Strategy) -> Run:
    """The average of a run's last epochs.

    Raises:
        SpecError: the run has not as many.
    """
    given, number = shown(parent.configuration["max-epoch"]), strategy.average_last
    last = int(given) if given.isdecimal() else 0
    if last < number:
        raise SpecError(
            f"strategy {strategy.name!r} is the average of {number} epochs, and max-epoch is "
            f"{given}"
        )
    folder = _folder(spec, parent, strategy.name)
    epochs = [f"{parent.folder}/checkpoint{n}.pt" for n in range(last - number + 1, last + 1)]
    words = ("tupe", "average", *epochs, "-o", str(folder / AVERAGE), "--evaluate")
    return replace(
        parent,
        strategy=strategy.name,
        folder=folder,
        command=(*words, str(parent.data)),
        configuration={**parent.configuration, "average-last": number},
        key=_hash([parent.key, "average-last", number]),
        parent=parent,
    )


def _folder(spec: Spec, run: Run, strategy: str) -> Path:
    searched = [f"{name}{shown(value)}" for name, value in run.setting.items()]
    rates = ",".join([*searched, f"lr{shown(run.lr)}"]).replace("/", "_")
    return spec.folder / run.task / run.model / strategy / rates / f"seed{run.seed}"


def _model(spec: Spec, name: str) -> tuple[Path | None, Options]:
    model = spec.models[name]
    if model.checkpoint is None:
        return None, {**from_scratch(), **model.options}
    checkpoint = checkpoint_of(model.checkpoint)
    known = from_scratch() if "arch" in model.options else model_options(checkpoint)
    return checkpoint, {**known, **model.options}


def key_of_training(options: Options, data: Path, checkpoint: Path | None) -> str:
    """Hash of what decides a training's scores."""
    counted = {
        name: shown(value)
        for name, value in sorted(options.items())
        if name not in WITHOUT_EFFECT_ON_SCORES and value is not False
    }
    files = files_that_tell_data_apart(data)
    digests = [(path.relative_to(data).as_posix(), sha256_of(path)) for path in files]
    return _hash([counted, digests, None if checkpoint is None else sha256_of(checkpoint)])


def _hash(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
