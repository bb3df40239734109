"""What a report says of a set of runs, before it has a form: rows, notes, nothing left unsaid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .arms import Arm, arms_of, best_arms
from .option_words import shown
from .paired_difference import CONFIDENCE, FEWEST_PAIRS, PairedDifference, paired_difference
from .published import Published, published_scores
from .run_record import FINISHED, RunRecord

BASELINES = ("plain", "adam-published", "bert-a")
"""What is a baseline without being told to be one: the first of these that is among the runs."""


class UnknownBaselineError(ValueError):
    """No run has the strategy or model of that name; the message lists those there are."""


class UnknownMetricError(ValueError):
    """No run has a metric of that name; the message lists those there are."""


@dataclass(frozen=True)
class Row:
    """An arm, and what stands beside its scores."""

    arm: Arm
    chosen: bool
    """Whether its rate and setting are the best of its strategy."""
    uncounted: Counter[str]
    """State -> runs of the strategy without a score, at all rates and settings."""
    difference: PairedDifference | None
    published: tuple[Published, ...]


@dataclass(frozen=True)
class Report:
    """All rows; a table shows the chosen ones."""

    rows: tuple[Row, ...]
    baseline: str | None
    also: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def chosen(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.chosen)

    def notes(self) -> list[str]:
        """How to read the table, and every run that is not among its scores."""
        notes = [
            "One row for each strategy: of its learning rates and settings with the most finished "
            "seeds the one with the best median over the seeds of each run's best validation, as "
            "in the TUPE paper (arXiv 2006.15595, section 4.1). That is a choice on the dev set, "
            "so best figures flatter; what is called last is the last validation, of which the "
            "rate alone was chosen."
        ]
        if self.baseline is None and len(self.chosen) > 1:
            notes.append(
                f"No differences: none of {', '.join(BASELINES)} is among the runs; --baseline "
                "names another strategy or model."
            )
        differences = [row.difference for row in self.chosen if row.difference is not None]
        if differences:
            notes.append(
                f"Difference: mean over the seeds that the row and {self.baseline} share, of the "
                "best validations, each at its own rate."
            )
        if any(found.is_interval for found in differences):
            notes.append(
                f"[a, b]: {CONFIDENCE:.0%} bootstrap interval of the mean difference over the "
                "seeds; it knows nothing of the dev set's own size."
            )
        if any(not found.is_interval for found in differences):
            notes.append(
                f"(a to b): the smallest and the largest difference. Of fewer than {FEWEST_PAIRS} "
                "seeds an interval would mean nothing."
            )
        sources = {
            f"{one.model}: {one.source} ({one.protocol})"
            for row in self.chosen
            for one in row.published
        }
        if sources:
            notes.append("Published, of other models: " + "; ".join(sorted(sources)) + ".")
        return [*notes, *self.surroundings(), *self.uncounted(), *self.left_out]

    def surroundings(self) -> Iterable[str]:
        """Of what machines and versions the seconds and scores are."""
        runs = [run for row in self.rows for run in row.arm.counted]
        if hardware := sorted({run.hardware for run in runs if run.hardware}):
            warning = ", whose seconds do not compare" if len(hardware) > 1 else ""
            yield f"Hardware: {'; '.join(hardware)}{warning}."
        versions = {f"{name} {run.versions[name]}" for run in runs for name in run.versions}
        if versions:
            yield f"Versions: {', '.join(sorted(versions))}."

    def uncounted(self) -> Iterable[str]:
        """A line about each run without a score."""
        for row in self.rows:
            for run in row.arm.runs:
                if run.state != FINISHED:
                    what = f"{run.task} {run.model} {run.strategy}"
                    which = f"lr {shown(run.lr)}, seed {run.seed}, {run.state}"
                    yield f"Not counted: {what}, {which}" + f": {run.reason}" * bool(run.reason)


def make_report(
    runs: Iterable[RunRecord],
    *,
    baseline: str | None = None,
    also: Sequence[str] = (),
    left_out: Sequence[str] = (),
) -> Report:
    """Compare runs.

    Args:
        runs: in the order in which the report names them.
        baseline: strategy or model from which the others differ; None: one of `BASELINES`.
        also: metrics that are shown besides the runs' own.
        left_out: a line about each run that could not be read.

    Raises:
        UnknownBaselineError: no run is of this baseline.
        UnknownMetricError: no run has one of `also`.
    """
    arms = arms_of(runs)
    known = {name for arm in arms for run in arm.counted for name in run.best_scores}
    if unknown := [name for name in also if known and name not in known]:
        raise UnknownMetricError(
            f"--also {unknown[0]}: no run has such a metric; there are {', '.join(sorted(known))}"
        )
    names = {name for arm in arms for name in (arm.question.strategy, arm.question.model)}
    if baseline is None:
        baseline = next((name for name in BASELINES if name in names), None)
    elif baseline not in names:
        raise UnknownBaselineError(
            f"--baseline {baseline}: no run has such a strategy or model; there are "
            f"{', '.join(sorted(names))}"
        )
    arms = sorted(arms, key=lambda arm: _order(arm, arms, baseline))
    best = best_arms(arms)
    chosen = set(map(id, best))
    return Report(
        rows=tuple(
            Row(
                arm,
                id(arm) in chosen,
                sum((o.uncounted for o in arms if o.question == arm.question), Counter()),
                _difference(arm, best, baseline),
                tuple(published_scores(arm.question)),
            )
            for arm in arms
        ),
        baseline=baseline,
        also=tuple(also),
        left_out=tuple(left_out),
    )


def _order(arm: Arm, arms: Sequence[Arm], baseline: str | None) -> tuple[int, bool, str, float]:
    """Tasks as they were first met; below each the baseline, and then the others by name."""
    first = next(n for n, other in enumerate(arms) if other.question.task == arm.question.task)
    name = f"{arm.question.model} {arm.question.strategy}"
    return first, baseline not in (arm.question.model, arm.question.strategy), name, arm.lr


def _difference(arm: Arm, best: Sequence[Arm], baseline: str | None) -> PairedDifference | None:
    """From the baseline of the same task and metric, which is of the same model or strategy."""
    mine = arm.question
    for other in best:
        theirs = other.question
        if (theirs.task, theirs.metric) != (mine.task, mine.metric) or theirs == mine:
            continue
        by_strategy = theirs.strategy == baseline and theirs.model == mine.model
        by_model = theirs.model == baseline and theirs.strategy == mine.strategy
        if by_strategy or by_model:
            return paired_difference(arm.best_of_seed(), other.best_of_seed())
    return None
