"""A task of a sweep: its data, and what `fairseq-train` needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..compat.metric_direction import Metric
from ..data.glue_tasks import data_of_task, load_tasks
from ..data.treatment import MANIFEST
from .option_words import Options, options_of
from .spec import Spec, SpecError, TaskSettings

INPUT = "input0"  # which every folder of a task has
_NOTHING = TaskSettings(data=None, classes=None, regression=False, metric=None, options={})


@dataclass(frozen=True)
class SweepTask:
    """One task."""

    name: str
    data: Path
    options: Options
    """Classes, dev sets, metric."""
    metric: Metric


def sweep_task(name: str, spec: Spec) -> SweepTask:
    """The task of a name, of GLUE's table or of the sweep's own.

    Raises:
        SpecError: nobody says what it is, or where its data are.
    """
    settings = spec.task.get(name, _NOTHING)
    described = settings.classes is not None or settings.regression or settings.metric is not None
    glue = load_tasks().get(name)
    if glue is None and not described:
        raise SpecError(
            f"no task {name!r}: GLUE's are {', '.join(load_tasks())}; one of your own needs "
            f"[task.{name}] with `metric`, and `classes` or `regression = true`"
        )
    options = options_of(glue.training_flags) if glue is not None and not described else None
    if options is None:
        options = _described(name, settings)
    metric = Metric(
        str(options["best-checkpoint-metric"]), bool(options.get("maximize-best-checkpoint-metric"))
    )
    return SweepTask(name, _data(name, settings, spec), options, metric)


def _described(name: str, settings: TaskSettings) -> Options:
    if settings.metric is None or (settings.classes is None) != settings.regression:
        raise SpecError(
            f"task.{name}: give `metric` (accuracy, mcc, f1, pearson ...), and either `classes` or "
            "`regression = true`"
        )
    metric = Metric.called(settings.metric)
    return {
        "num-classes": settings.classes or 1,
        "regression-target": settings.regression,
        "valid-subset": "valid",
        "best-checkpoint-metric": metric.name,
        "maximize-best-checkpoint-metric": metric.more_is_better,
    }


def _data(name: str, settings: TaskSettings, spec: Spec) -> Path:
    if settings.data is not None:
        found, key = settings.data, f"task.{name}.data"
    elif spec.data is None:
        raise SpecError(
            f"there is no `data`: give the folder that has {data_of_task(Path(), name)}"
        )
    elif (spec.data / INPUT).is_dir() and spec.tasks == (name,):
        found, key = spec.data, "data"
    else:
        found, key = data_of_task(spec.data, name), "data"
    if not (found / INPUT).is_dir():
        raise SpecError(
            f"{key}: {found} is no data of {name}: make them with "
            f"`tupe data task ... GLUE_DIR {name} {found.parent}`"
        )
    return found


def refuse_unknown_tasks(spec: Spec) -> None:
    """Options for a task that is none would be lost, such as those of a misspelled name.

    Raises:
        SpecError: a table is of such a task.
    """
    described = [name for name, settings in spec.task.items() if settings.metric is not None]
    known = dict.fromkeys([*load_tasks(), *spec.tasks, *described])
    places = [("task", name) for name in spec.task]
    places += [
        (f"strategy {one.name!r}, task", name) for one in spec.strategies for name in one.task
    ]
    for place, name in places:
        if name not in known:
            raise SpecError(f"{place}.{name}: there is no such task; there is {', '.join(known)}")


def files_that_tell_data_apart(data: Path) -> list[Path]:
    """The record of how they were made and their dictionaries; all files, where no record is."""
    manifest = data / MANIFEST
    if manifest.is_file():
        return [manifest, *sorted(data.glob("*/dict.txt"))]
    return sorted(path for path in data.rglob("*") if path.is_file())
