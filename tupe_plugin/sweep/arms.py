"""Arms of an experiment: runs that differ in nothing but the seed, and which rate is the best.

The protocol is the TUPE paper's (arXiv 2006.15595, section 4.1): of each run the best validation
counts, of an arm the median over its seeds, and of a strategy the rate (and other searched
settings) with the best median.  All three are choices on the dev set, so these figures flatter;
`last` are the scores of the last validation, which nothing has chosen but for the rate.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ..compat.metric_direction import Metric
from .option_words import Options
from .run_record import FINISHED, RunRecord


class Question(NamedTuple):
    """What arms of several rates and settings have in common."""

    task: str
    model: str
    strategy: str
    metric: Metric


@dataclass(frozen=True)
class Arm:
    """The runs of one question, rate and setting, in the order of their seeds."""

    question: Question
    lr: float
    setting: Options
    runs: tuple[RunRecord, ...]

    @cached_property
    def counted(self) -> tuple[RunRecord, ...]:
        """Those that have finished; the others are no scores, and `uncounted` tells of them."""
        return tuple(run for run in self.runs if run.state == FINISHED)

    @property
    def uncounted(self) -> Counter[str]:
        """State -> how many of the runs have no score."""
        return Counter(run.state for run in self.runs if run.state != FINISHED)

    def best(self, name: str | None = None) -> list[float]:
        """Of each seed, a metric (the run's own, if none is named) at its best validation."""
        name = name or self.question.metric.name
        return [run.best_scores[name] for run in self.counted if name in run.best_scores]

    def last(self) -> list[float]:
        """Of each seed, the metric at its last validation."""
        return [run.validations[-1].scores[self.question.metric.name] for run in self.counted]

    def best_of_seed(self) -> dict[int, float]:
        return {run.seed: run.best_scores[self.question.metric.name] for run in self.counted}

    @property
    def median(self) -> float:
        """Of the best validations; raises where there is none."""
        return statistics.median(self.best())

    @property
    def seconds(self) -> float | None:
        return statistics.mean(run.seconds for run in self.counted) if self.counted else None

    @property
    def peak_memory(self) -> int | None:
        """The largest of the seeds', in bytes."""
        return max((run.peak_memory for run in self.runs if run.peak_memory), default=None)


def arms_of(runs: Iterable[RunRecord]) -> list[Arm]:
    """Group runs, in the order in which questions, rates and settings are first met."""
    groups: dict[tuple[object, ...], list[RunRecord]] = defaultdict(list)
    for run in runs:
        setting = tuple(sorted((name, repr(value)) for name, value in run.setting.items()))
        groups[(_question(run), run.lr, setting)].append(run)
    return [
        Arm(_question(group[0]), group[0].lr, group[0].setting, tuple(sorted(group, key=_seed)))
        for group in groups.values()
    ]


def best_arms(arms: Iterable[Arm]) -> list[Arm]:
    """For each question the arm that is reported, in the order of the questions.

    Of the arms with the most finished seeds it is that with the best median: one whose other
    seeds have diverged does not win by its lucky ones.
    """
    questions: dict[Question, list[Arm]] = defaultdict(list)
    for arm in arms:
        questions[arm.question].append(arm)
    return [max(candidates, key=_rank) for candidates in questions.values()]


def _rank(arm: Arm) -> tuple[int, float]:
    finished = len(arm.counted)
    return finished, arm.question.metric.goodness(arm.median) if finished else 0.0


def _question(run: RunRecord) -> Question:
    return Question(run.task, run.model, run.strategy, run.metric)


def _seed(run: RunRecord) -> int:
    return run.seed
