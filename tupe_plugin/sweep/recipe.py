"""The fine-tuning of one task as one `fairseq-train` command; `recipe.toml` has the figures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..data.toml_file import read_toml
from .option_words import Options, Value, words

TABLE = Path(__file__).with_suffix(".toml")
USER_DIR = Path(__file__).resolve().parent.parent
LOG_NAME = "train.log"
ADAM = "adam"


class UnknownOptimizerError(ValueError):
    """The recipe has none of that name; the message names those that it has."""


@cache
def load_recipe() -> dict[str, Any]:
    return read_toml(TABLE)


def fine_tuning(
    task: str, task_options: Mapping[str, Value], model: Mapping[str, Value], *more: Options
) -> Options:
    """All options but those that name files; later ones count.

    Args:
        task: its name, in the table of those that differ.
        task_options: its classes, dev sets and metric.
        model: its architecture and symbols.
        more: further options, of which `optimizer` brings its own along.

    Raises:
        UnknownOptimizerError: the recipe does not know it.
    """
    recipe = load_recipe()
    given: Options = {name: value for options in more for name, value in options.items()}
    optimizer = str(given.get("optimizer", ADAM))
    if optimizer not in recipe["optimizers"]:
        known = " or ".join(recipe["optimizers"])
        raise UnknownOptimizerError(f"unknown optimizer {optimizer!r}: {known}")
    return {
        **recipe["every"],
        **recipe["tasks"].get(task, {}),
        **task_options,
        **model,
        "optimizer": optimizer,
        **recipe["optimizers"][optimizer],
        **given,
    }


def from_scratch() -> Options:
    """The options of a model without a checkpoint."""
    recipe = load_recipe()
    return {**recipe["from-scratch"], **recipe["sentences"]}


def command(data: Path, checkpoint: Path | None, save_dir: Path, options: Options) -> list[str]:
    """`fairseq-train` with all its options; the same command goes on with an interrupted run."""
    start: Options = {}
    if checkpoint is not None:
        resets = ("optimizer", "dataloader", "meters", "lr-scheduler")
        start = {"restore-file": str(checkpoint)} | {f"reset-{part}": True for part in resets}
    places: Options = {"log-file": str(save_dir / LOG_NAME), "save-dir": str(save_dir)}
    line = {"user-dir": str(USER_DIR), **start, **options, **places}
    return ["fairseq-train", str(data), *words(line)]
