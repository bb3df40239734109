"""A checkpoint's model on a folder of data: its task, its weights, and the batches of a split."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint.errors import in_one_line
from ..compat.damaged_data import problem_of_index
from ..compat.refused_job import raised_here
from ..core.attention_backends import AUTO
from ..core.encoder_family import UnknownEncoderError
from ..core.encoder_view import names_of


class DataError(ValueError):
    """The data cannot be read, or is not of this model; the message says which and why."""


def set_up_task(checkpoint: Path, cfg: Any, data: Path) -> Any:
    """The task of a checkpoint, which reads this folder from now on.

    Args:
        checkpoint: where it is, for errors.
        cfg: the configuration in the checkpoint, as `read_upgraded` gives it.
        data: the binarised data, as for `fairseq-train`.

    Raises:
        DataError: there is no such folder, or its dictionaries cannot be read.
    """
    from fairseq import tasks

    if not data.is_dir():
        raise DataError(f"no such folder of data: {data}")
    cfg.task.data = str(data)
    try:
        with _readable(data, "the dictionaries"):
            return tasks.setup_task(cfg.task)
    except DataError:
        raise
    except ValueError as error:  # in the words of an option, which is the checkpoint's
        raise DataError(f"{checkpoint} on {data}: {error}") from error


def build_model(
    checkpoint: Path, state: dict[str, Any], task: Any, *, device: torch.device, half: bool = False
) -> Any:
    """The model in a checkpoint, ready to be run.

    Args:
        checkpoint: where it is, for errors.
        state: what is in it; it may be changed.
        task: what `set_up_task` gave.
        device: where the model runs.
        half: in half precision.

    Raises:
        DataError: it does not fit the data.
        CheckpointError: it cannot be built, whatever the data.
    """
    from fairseq.checkpoint_utils import load_model_ensemble_and_task

    _check_dictionary(checkpoint, state["model"], task)
    if "attention_backend" in state["cfg"].model:  # that of the training may want a GPU
        state["cfg"].model.attention_backend = AUTO
    (model,), _, _ = load_model_ensemble_and_task([str(checkpoint)], task=task, state=state)
    model.to(device)
    return (model.half() if half else model).eval()


def _check_dictionary(checkpoint: Path, weights: Mapping[str, Tensor], task: Any) -> None:
    try:
        names = names_of(weights)
    except UnknownEncoderError:
        return  # whoever builds it has an error of its own
    words = weights.get(f"{names.prefix}{names.family.word_embedding}.weight")
    if words is not None and len(words) != len(task.source_dictionary):
        raise DataError(
            f"{checkpoint} does not fit {task.cfg.data}: it has {len(words):,} symbols, the "
            f"dictionary of the data {len(task.source_dictionary):,}; give the data that it was "
            "trained on"
        )


def load_split(task: Any, split: str) -> Any:
    """One dataset: `train`, `valid`, `valid1`, `test` ...

    Raises:
        DataError: it is not there, or damaged, or empty.
    """
    data = Path(task.cfg.data)
    for index in sorted(data.glob(f"*/{split}.idx")):
        problem = problem_of_index(str(index))
        if problem is not None:
            raise DataError(f"{index} {problem}; the split {split} cannot be read")
    with _readable(data, f"the split {split}"):
        task.load_dataset(split, combine=False, epoch=1, task_cfg=task.cfg)
        dataset = task.dataset(split)
        if len(dataset) == 0:
            raise DataError(f"{data}: the split {split} is empty")
        return dataset


def batches(
    task: Any, split: str, dataset: Any, *, device: torch.device, **how: Any
) -> Iterator[dict[str, Any]]:
    """A split's batches, on the device where the model runs, by `task.get_batch_iterator(**how)`.

    Raises:
        DataError: a row cannot be read.
    """
    from fairseq import utils

    data, what = Path(task.cfg.data), f"the split {split}"
    with _readable(data, what):
        rest = iter(task.get_batch_iterator(dataset, **how).next_epoch_itr(shuffle=False))
    while True:
        with _readable(data, what):
            batch = next(rest, None)
        if batch is None:
            return
        yield utils.move_to_cuda(batch, device) if device.type == "cuda" else batch


@contextlib.contextmanager
def _readable(data: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (AssertionError, EOFError, LookupError, OSError, RuntimeError, ValueError) as error:
        if raised_here(error):
            raise
        raise DataError(
            f"{data}: {what} cannot be read ({in_one_line(error)}); is the data whole?"
        ) from error
