"""Read `glue_tasks.toml`, the table of the nine GLUE tasks."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .toml_file import read_toml

TABLE = Path(__file__).with_suffix(".toml")
_BIN = "-bin"  # how `tupe data task` ends the name of a folder of data


class UnknownTaskError(ValueError):
    """No such task in the table; the message names those that are."""


@dataclass(frozen=True)
class GlueFile:
    """One official TSV file; the fields are described at the top of the table."""

    split: str
    name: str
    also: tuple[str, ...]
    header: bool
    inputs: tuple[str | int, ...]
    label: str | int | None
    index: str | None
    server: str | None
    rows: int

    @property
    def is_test(self) -> bool:
        return self.split.startswith("test")

    def find(self, folder: Path) -> Path:
        """The file in a task's folder, or at the first of the other places that has it."""
        # Without "..", which needs the task's own folder to exist.
        places = [Path(os.path.normpath(folder / place)) for place in (self.name, *self.also)]
        return next((place for place in places if place.exists()), places[0])


@dataclass(frozen=True)
class GlueTask:
    """One task; the fields are described at the top of the table."""

    name: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    constant: str
    label_scale: float
    skip_malformed: bool
    other_form: tuple[str, ...]
    files: tuple[GlueFile, ...]

    @property
    def is_regression(self) -> bool:
        return not self.labels

    @property
    def num_classes(self) -> int:
        """fairseq's --num-classes."""
        return len(self.labels) or 1

    @property
    def training_flags(self) -> list[str]:
        """What fairseq-train needs to know of the task; of the metrics more is better."""
        valid = [file.split for file in self.files if file.split.startswith("valid")]
        return [
            *("--num-classes", str(self.num_classes)),
            *(["--regression-target"] if self.is_regression else []),
            *("--valid-subset", ",".join(valid)),
            *("--best-checkpoint-metric", self.metrics[0], "--maximize-best-checkpoint-metric"),
        ]

    def advice(self, folder: Path) -> str:
        """What to do where the files lie elsewhere or in another form, or nothing."""
        own = folder.parent
        if not folder.exists() and any((own / file.name).exists() for file in self.files):
            return f", but {own} has such files: give its parent folder as GLUE_DIR"
        if not self.other_form or not (folder / self.other_form[0]).exists():
            return ""
        name, what_to_do = self.other_form
        return f", but {name}: {what_to_do}"

    def label_for_fairseq(self, text: str) -> str:
        """The label as fairseq's `sentence_prediction` expects it.

        Raises:
            ValueError: not a label of this task.
        """
        if not self.is_regression:
            if text not in self.labels:
                raise ValueError(f"label {text!r} is none of {', '.join(self.labels)}")
            return text
        return repr(finite_number(text) / self.label_scale)


def finite_number(text: str) -> float:
    """A regression label.

    Raises:
        ValueError: it is no number, or no finite one.
    """
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"label {text!r} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"label {text!r} is not a finite number")
    return value


@cache
def load_tasks() -> dict[str, GlueTask]:
    """All tasks of the table by name, in its order."""
    return {
        name: GlueTask(
            name=name,
            labels=tuple(entry.get("labels", ())),
            metrics=tuple(entry["metrics"]),
            constant=entry["constant"],
            label_scale=entry.get("label_scale", 1.0),
            skip_malformed=entry.get("skip_malformed", False),
            other_form=tuple(entry.get("other_form", ())),
            files=tuple(
                GlueFile(
                    split=file["split"],
                    name=file["name"],
                    also=tuple(file.get("also", ())),
                    header=file["header"],
                    inputs=tuple(file["inputs"]),
                    label=file.get("label"),
                    index=file.get("index"),
                    server=file.get("server"),
                    rows=file["rows"],
                )
                for file in entry["files"]
            ),
        )
        for name, entry in read_toml(TABLE).items()
    }


def load_task(name: str) -> GlueTask:
    """The task called `name`, in the spelling of the table.

    Raises:
        UnknownTaskError: there is none.
    """
    tasks = load_tasks()
    if name not in tasks:
        raise UnknownTaskError(f"no GLUE task {name!r}; the tasks are {', '.join(tasks)}")
    return tasks[name]


def task_of_data(folder: Path) -> str:
    """The name of the task that a folder of data is of."""
    return folder.name.removesuffix(_BIN)


def data_of_task(folder: Path, task: str) -> Path:
    """A task's data in a folder that `tupe data task` made."""
    return folder / f"{task}{_BIN}"
