"""A search on the first seeds: the best rate and setting of each strategy alone gets the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .arms import arms_of, best_arms
from .grid import Run
from .option_words import Options
from .run_record import RunRecord


def runs_to_search(runs: Sequence[Run], seeds: Sequence[int]) -> list[Run]:
    """Those of the seeds with which rates and settings are searched."""
    return [run for run in runs if run.seed in seeds]


def runs_of_the_best(runs: Sequence[Run], searched: Iterable[RunRecord]) -> list[Run]:
    """All seeds of what a report would choose, and of the runs that its averages are made of.

    Args:
        runs: of the whole sweep, in order.
        searched: what has become of `runs_to_search`.
    """
    best = [_arm(*arm.question[:3], arm.lr, arm.setting) for arm in best_arms(arms_of(searched))]
    chosen = [
        run for run in runs if _arm(run.task, run.model, run.strategy, run.lr, run.setting) in best
    ]
    folders = {one.folder for run in chosen for one in (run, run.parent) if one is not None}
    return [run for run in runs if run.folder in folders]


def _arm(task: str, model: str, strategy: str, lr: float, setting: Options) -> tuple[object, ...]:
    return task, model, strategy, lr, sorted((name, repr(one)) for name, one in setting.items())
