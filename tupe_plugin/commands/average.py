"""`tupe average A.pt B.pt ... -o OUT.pt`: one model out of several fine-tuned ones.

The mean of all, or with `--greedy DATA` of those that do not lower a dev metric; see
`core/averaging.py`. OUT holds the model, the first input's configuration and no optimizer state:
`fairseq-validate` takes it, and `fairseq-train --restore-file` begins a new run with it.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoint.contents import check_finite
from ..checkpoint.encoder_checkpoint import without_unused
from ..checkpoint.file_kind import refuse_what_is_no_file
from ..checkpoint.read import read_checkpoint
from ..checkpoint.settings import BEFORE_THERE_WERE_OPTIONS, TRAINING_ONLY, settings_of
from ..checkpoint.write import at_the_beginning, write_checkpoint
from ..compat.metric_direction import LOSSES, Metric
from ..compat.restarted_job import start_of
from ..core.averaging import (
    ONE_START,
    GreedyAverage,
    alignment,
    greedy_average,
    uniform_average,
)
from ..core.bounds import BATCH_SIZE, flag
from ..core.whole_file import check_replaceable
from ..data.glue_tasks import task_of_data
from ..inference.dev_scores import DevSet

Loader = Callable[[], Mapping[str, Tensor]]


class AverageError(ValueError):
    """The inputs or the output cannot be used; the message says which and why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="fine-tuned models"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="the checkpoint to write"
    )
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        "--greedy",
        type=Path,
        metavar="DATA",
        help="start from the best model; add each further one that does not lower the dev metric",
    )
    data.add_argument(
        "--evaluate", type=Path, metavar="DATA", help="average all; show each model's dev metric"
    )
    parser.add_argument(
        "--metric",
        help="such as accuracy, mcc, pearson, f1; higher is better, except where the name "
        f"ends in {', '.join(LOSSES)} (default: the --best-checkpoint-metric of the first "
        "checkpoint)",
    )
    parser.add_argument("--subset", default="valid", help="the dev set (default: valid)")
    parser.add_argument("--batch-size", type=BATCH_SIZE, help="sentences (default: as in training)")
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")


def run(args: argparse.Namespace) -> int:
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    for line in average(args):
        print(line)
    return 0


def average(args: argparse.Namespace) -> list[str]:
    """Write the average; returns the table and what was written.

    Raises:
        AverageError: an input is given twice, or the output is one of them.
        CheckpointError: an input cannot be read.
        DataError: the data cannot be used.
        MismatchError: two models cannot be averaged.
        MissingMetricError: there is no such metric.
        ValueError: a model's metric is not a number.
    """
    paths: list[Path] = args.checkpoints
    _check_paths(paths, args.output)
    first = _read(paths[0])
    strangers, tasks = [], {paths[0]: _task(first)}
    for path in paths[1:]:
        other = _read(path)
        _check_same_model(first, paths[0], other, path)
        tasks[path] = _task(other)
        cosine = alignment(first["model"], other["model"])
        if cosine < ONE_START:
            strangers.append(f"{path} ({_start(other)}): {cosine:.2f}")
    if strangers:
        print(_warning(f"{paths[0]} ({_start(first)})", strangers), file=sys.stderr)
    if len({*tasks.values()}) > 1:
        found = ", ".join(f"{path} on {task}" for path, task in tasks.items())
        print(f"tupe average: warning: the models learned several tasks: {found}", file=sys.stderr)
    models: dict[str, Loader] = {str(path): partial(_weights, path) for path in paths}
    data = args.greedy or args.evaluate
    if data is None:
        if args.metric:
            raise AverageError(f"--metric {args.metric} needs --greedy DATA or --evaluate DATA")
        state, lines, chosen = uniform_average(models), [], list(models)
    else:
        dev = DevSet(paths[0], data, subset=args.subset, batch_size=args.batch_size, cpu=args.cpu)
        own = args.metric in (None, dev.metric.name)  # its job has said what is better
        metric = dev.metric if own else Metric.called(args.metric)
        dev.check_metric(metric)
        if args.greedy:
            result = greedy_average(models, lambda weights: dev.score(weights, metric))
            state, lines, chosen = result.state, _greedy_table(result, metric), [*result.chosen]
        else:
            state, chosen = uniform_average(models), list(models)
            scores = {name: dev.score(load(), metric) for name, load in models.items()}
            scores[f"average of {len(models)}"] = dev.score(state, metric)
            lines = _uniform_table(scores, metric)
    made = at_the_beginning(
        state,
        cfg=first.get("cfg"),
        args=first.get("args"),
        last_start=(first.get("optimizer_history") or [None])[-1],
        task_state=first.get("task_state"),
        averaged=chosen,
    )
    write_checkpoint(args.output, made)
    return [*lines, f"wrote {args.output}: the average of {len(chosen)} of {len(models)} models"]


def _check_paths(paths: Sequence[Path], output: Path) -> None:
    if len(paths) < 2:
        raise AverageError(f"{paths[0]} alone is no average: give two checkpoints or more")
    for path in paths:
        refuse_what_is_no_file(path)
    for position, path in enumerate(paths):
        if any(path.samefile(other) for other in paths[:position]):
            raise AverageError(f"{path} is given twice and would count twice")
        if output.exists() and path.samefile(output):
            raise AverageError(f"-o {output} is one of the inputs; give another name")
    check_replaceable(output)
    if not output.parent.is_dir():
        raise AverageError(f"-o {output}: there is no folder {output.parent}")


def _read(path: Path) -> dict[str, Any]:
    """A checkpoint as it lies in the file, without the state of its optimizer."""
    state = read_checkpoint(path)
    check_finite(state["model"], path)
    state["model"] = without_unused(state["model"])
    state.pop("last_optimizer_state", None)  # twice the model's size, and of no use here
    if state.get("criterion"):
        raise AverageError(
            f"{path}: its criterion has parameters of its own, which are not averaged here"
        )
    return state


def _weights(path: Path) -> Mapping[str, Tensor]:
    return _read(path)["model"]


def _check_same_model(
    first: dict[str, Any], first_path: Path, other: dict[str, Any], path: Path
) -> None:
    """Refuse models of equal shapes that compute differently, such as with other heads."""
    ours, theirs = (_model_options(state) for state in (first, other))
    for name in ours.keys() & theirs.keys() - TRAINING_ONLY:
        # Real numbers of other models are shares that are dropped.
        computes = name in BEFORE_THERE_WERE_OPTIONS or not isinstance(ours[name], float)
        if ours[name] != theirs[name] and computes:
            option = flag(name)
            raise AverageError(
                f"{first_path} was trained with {option} {ours[name]}, and {path} with {option} "
                f"{theirs[name]}: their average would be neither"
            )


def _start(state: dict[str, Any]) -> str:
    """What the configuration says of the weights with which the run began."""
    option, path = start_of((state.get("cfg") or {}).get("checkpoint"))
    return "no --restore-file" if option is None else f"{option} {path}"


def _task(state: dict[str, Any]) -> str:
    """What a model was fine-tuned on, by the name of its data; nothing of a pre-training."""
    settings = settings_of(state, "task")
    return task_of_data(Path(str(settings["data"]))) if settings.get("num_classes") else ""


def _warning(first: str, strangers: Sequence[str]) -> str:
    return (
        f"tupe average: warning: not all models come from one start: the cosine with {first} is, "
        f"of {'; of '.join(strangers)}; of models fine-tuned from one it is above {ONE_START}. "
        "The mean of others is usually worse than each: give models that were fine-tuned from the "
        "same checkpoint"
    )


def _model_options(state: dict[str, Any]) -> dict[str, Any]:
    """Not of `args`, whose options are those of all parts."""
    own = settings_of(state, "model") if state.get("args") is None else {}
    return {**BEFORE_THERE_WERE_OPTIONS, **own} if own else {}


def _greedy_table(result: GreedyAverage, metric: Metric) -> list[str]:
    rows = [
        (
            trial.name,
            _shown(trial.alone, metric),
            _shown(trial.together, metric),
            "yes" if trial.chosen else "no",
        )
        for trial in result.trials
    ]
    total = (f"average of {len(result.chosen)}", _shown(result.score, metric), "", "")
    titles = (f"model, best {metric.name} first", metric.name, "average with it", "in")
    return _markdown(titles, *rows, total)


def _uniform_table(scores: Mapping[str, float], metric: Metric) -> list[str]:
    rows = ((name, _shown(score, metric)) for name, score in scores.items())
    return _markdown(("model", metric.name), *rows)


def _shown(goodness: float, metric: Metric) -> str:
    return f"{metric.goodness(goodness):.4f}"


def _markdown(titles: Sequence[str], *rows: Sequence[str]) -> list[str]:
    table = [titles, ["---"] * len(titles), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in table]
