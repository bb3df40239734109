"""Read `preprocess/glue_tasks.toml`, the table of the nine GLUE tasks."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = Path(__file__).parent.parent / "glue_tasks.toml"


class UnknownTaskError(Exception):
    """No such task in the table; the message names those that are."""


@dataclass(frozen=True)
class GlueFile:
    """One official TSV file; the fields are described at the top of the table."""

    split: str
    name: str
    header: bool
    inputs: tuple[str | int, ...]
    label: str | int | None
    rows: int


@dataclass(frozen=True)
class GlueTask:
    """One task; the fields are described at the top of the table."""

    name: str
    labels: tuple[str, ...]
    num_classes: int
    metrics: tuple[str, ...]
    label_scale: float
    skip_malformed: bool
    files: tuple[GlueFile, ...]

    @property
    def is_regression(self) -> bool:
        return not self.labels

    def label_for_fairseq(self, text: str) -> str:
        """The label as fairseq's `sentence_prediction` expects it.

        Raises:
            ValueError: not a label of this task.
        """
        if not self.is_regression:
            if text not in self.labels:
                raise ValueError(f"label {text!r} is none of {', '.join(self.labels)}")
            return text
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"label {text!r} is not a number") from None
        if not math.isfinite(value):
            raise ValueError(f"label {text!r} is not a finite number")
        return repr(value / self.label_scale)


def load_tasks() -> dict[str, GlueTask]:
    """All tasks of the table by name, in its order."""
    with open(TABLE, "rb") as table:
        entries = tomllib.load(table)
    return {
        name: GlueTask(
            name=name,
            labels=tuple(entry.get("labels", ())),
            num_classes=entry["num_classes"],
            metrics=tuple(entry["metrics"]),
            label_scale=entry.get("label_scale", 1.0),
            skip_malformed=entry.get("skip_malformed", False),
            files=tuple(
                GlueFile(
                    split=file["split"],
                    name=file["name"],
                    header=file["header"],
                    inputs=tuple(file["inputs"]),
                    label=file.get("label"),
                    rows=file["rows"],
                )
                for file in entry["files"]
            ),
        )
        for name, entry in entries.items()
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


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Print the names of the GLUE tasks, or check one.")
    parser.add_argument("task", nargs="?", help="say nothing if there is such a task, else fail")
    args = parser.parse_args(arguments)
    if args.task is None:
        sys.stdout.write("\n".join(load_tasks()) + "\n")
        return
    try:
        load_task(args.task)
    except UnknownTaskError as error:
        parser.exit(1, f"glue_tasks: {error}\n")


if __name__ == "__main__":
    main()
