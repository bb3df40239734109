"""Bounds for the options that every job has: fairseq's own, which it takes as they come."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

from .checkpoint_package import core_module
from .literal_evaluation import NotAValueError, value_of
from .refused_job import RefusedJobError

bounds = core_module("bounds")


def _splits(text: str) -> None:
    if not text or not all(name.strip() for name in text.split(",")):
        raise ValueError("give the name of a split, or several with a comma between two")


SPLITS = bounds.Text(_splits, "names of splits")
BOUNDS: dict[str, dict[str, Any]] = {  # group of fairseq's configuration -> option -> bound
    "common": {
        "log_interval": bounds.COUNT,
        "seed": bounds.Whole(0, 2**31 - 1),
    },
    "optimization": {
        "update_freq": bounds.Each(bounds.Whole(1, 1_000_000)),
        "lr": bounds.Each(bounds.LEARNING_RATE),
        "clip_norm": bounds.Number(0, 1e9),
        "max_epoch": bounds.COUNT_OR_NONE,
        "max_update": bounds.COUNT_OR_NONE,
    },
    "dataset": {
        "batch_size": bounds.BATCH_SIZE,
        "batch_size_valid": bounds.BATCH_SIZE,
        "max_tokens": bounds.COUNT,
        "validate_interval": bounds.COUNT,
        "num_workers": bounds.WORKERS,
        "required_batch_size_multiple": bounds.COUNT,
        "train_subset": SPLITS,
        "valid_subset": SPLITS,
    },
    "checkpoint": {"save_interval": bounds.COUNT},
}
LISTS = {
    name: bound
    for group in BOUNDS.values()
    for name, bound in group.items()
    if isinstance(bound, bounds.Each)
}


def read_lists_of_numbers_as_they_are_written(options: Any) -> None:
    """`OverflowError: cannot convert float infinity to integer`; `--update-freq 2.5` becomes 2.

    Where: fairseq/utils.py:787 makes `list(map(int, eval(text)))` of a list's text.
    When: `--update-freq 1e400`, `--update-freq 2.5`, digits that Python does not know.
    Fix: the option parser refuses them by the bound of the option.
    """
    original = options.parse_args_and_arch

    @functools.wraps(original)
    def parse_args_and_arch(parser: Any, *rest: Any, **named: Any) -> Any:
        for name, bound in LISTS.items():
            action = parser._option_string_actions.get(bounds.flag(name))
            if action is not None:
                action.type = _list_within(bound)
        return original(parser, *rest, **named)

    options.parse_args_and_arch = parse_args_and_arch


def check_fairseq_options(cfg: Any) -> None:
    """Hold the options of every job against `BOUNDS`.

    Raises:
        RefusedJobError: the first that is out of bounds, in the words of its flag.
    """
    for group, options in BOUNDS.items():
        for name, bound in options.items():
            value = cfg[group].get(name)
            problem = None if value is None else bound.problem(value)
            if problem is not None:
                shown = repr(value) if isinstance(value, str) else value
                raise RefusedJobError(f"{bounds.flag(name)} {shown}: {problem}")


def _list_within(bound: Any) -> Callable[[str], list[Any]]:
    def parse(text: str) -> list[Any]:
        try:
            value = value_of(text)
        except NotAValueError:
            value = text
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        problem = bound.problem(values)
        if problem is not None:
            raise argparse.ArgumentTypeError(f"{problem}, not {text[:60] or repr(text)}")
        return (
            [float(each) for each in values] if isinstance(bound.bound, bounds.Number) else values
        )

    return parse
