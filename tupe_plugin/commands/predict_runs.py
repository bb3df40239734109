"""Which checkpoints `tupe predict` runs, on which data: one for each task."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..checkpoint.file_kind import refuse_what_is_no_file
from ..checkpoint.model_folder import is_model_folder
from ..checkpoint.run_folder import OF_RUN
from ..compat.metric_direction import Metric
from ..data.glue_tasks import data_of_task
from ..inference.predictor import (
    FineTuned,
    OtherTaskError,
    PredictionError,
    read_fine_tuned,
)


@dataclass(frozen=True)
class PredictionRun:
    """One task's checkpoint and data."""

    task: str
    checkpoint: Path
    data: Path
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    task: str
    checkpoint: Path
    data: Path
    metric: Metric
    goodness: float


def find_runs(arguments: Sequence[str], *, data: Path | None) -> list[PredictionRun]:
    """One run for each task, in the order of the arguments.

    Args:
        arguments: `[TASK=]CHECKPOINT` or `[TASK=]FOLDER`.
        data: a folder of data or of TASK-bin folders; None: what each was trained on.

    Raises:
        PredictionError: there is no checkpoint or no data, or two runs cannot be compared.
    """
    by_task: dict[str, list[_Candidate]] = defaultdict(list)
    for argument in arguments:
        task, path = split_name(argument)
        for run in _fine_tuned(_checkpoints_at(path)):
            candidate = _candidate(run, task, data)
            by_task[candidate.task].append(candidate)
    return [_best(task, candidates) for task, candidates in by_task.items()]


def split_name(argument: str) -> tuple[str | None, Path]:
    """`TASK=RUN` or `RUN`; a `=` that belongs to a path stands after a `/`."""
    name, separator, rest = argument.partition("=")
    if not separator or "/" in name or Path(argument).exists():
        return None, Path(argument)
    return name, Path(rest)


def _checkpoints_at(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    for name in OF_RUN:
        if (path / name).is_file():
            return [path / name]
    folders = sorted({found.parent for name in OF_RUN for found in path.rglob(name)})
    if not folders:
        if is_model_folder(path):
            refuse_what_is_no_file(path)  # it names `tupe import`
        raise PredictionError(f"{path}: no {' or '.join(OF_RUN)} in it or below it")
    return [checkpoint for folder in folders for checkpoint in _checkpoints_at(folder)]


def _fine_tuned(checkpoints: Sequence[Path]) -> list[FineTuned]:
    """Of several runs in a folder those of other tasks, such as the pre-training, are left out."""
    found, others = [], []
    for path in checkpoints:
        try:
            found.append(read_fine_tuned(path))
        except OtherTaskError as error:
            others.append(error)
    if not found and others:
        raise others[0]
    for other in others:
        print(f"left out: {other}")
    return found


def _candidate(checkpoint: FineTuned, task: str | None, data: Path | None) -> _Candidate:
    named, task = task is not None, task or checkpoint.task
    if not task or task in (".", "..") or "/" in task:
        raise PredictionError(f"{checkpoint.path}: name its task with TASK=RUN")
    folder = checkpoint.data
    if data is not None:
        folder = data if (data / "input0").is_dir() else data_of_task(data, task)
        if not named:
            checkpoint.check_data(folder)
    if not (folder / "input0").is_dir():
        where = "was trained on" if data is None else "of --data"
        raise PredictionError(
            f"{checkpoint.path}: the data {where} is not there: no {folder / 'input0'}; "
            "give the folder with --data"
        )
    return _Candidate(task, checkpoint.path, folder, checkpoint.metric, checkpoint.goodness)


def _best(task: str, candidates: list[_Candidate]) -> PredictionRun:
    first = candidates[0]
    if len(candidates) == 1:
        return PredictionRun(task, first.checkpoint, first.data)
    if len({(one.metric, one.data) for one in candidates}) > 1 or any(
        math.isnan(one.goodness) for one in candidates
    ):
        paths = ", ".join(str(one.checkpoint) for one in candidates)
        raise PredictionError(
            f"{len(candidates)} runs of {task} cannot be compared, because their metrics or their "
            f"data differ; name one of {paths}"
        )
    best = max(candidates, key=lambda one: one.goodness)
    remark = (
        f"{task}: {len(candidates)} runs; {best.checkpoint} is the best on the dev set, "
        f"{best.metric.name} {best.metric.goodness(best.goodness):.4g}"
    )
    return PredictionRun(task, best.checkpoint, best.data, (remark,))
