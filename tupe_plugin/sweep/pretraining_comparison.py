"""Which knowledge of positions learns fastest: pre-trainings that differ in the scheme alone.

The TUPE paper's headline (arXiv 2006.15595, section 4.2) is a share of updates: with 30 % of them
TUPE is above BERT-A's final score.  Here it is measured in the validation loss, seed by seed:

    share = first validated update with  loss <= BERT-A's last loss  /  BERT-A's updates

and likewise of its seconds.  All runs have the same data, budget and rate, and the rate falls to
zero at the end of the budget, as the paper's does: no run was stopped at its share.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .arms import Arm, arms_of
from .paired_difference import FEWEST_PAIRS, PairedDifference, paired_difference
from .pretraining_runs import TASK
from .report import UnknownBaselineError
from .report_pictures import Picture, label_of, look_of, put_legend, svg_of
from .report_table import (
    NOTHING,
    Column,
    difference_in_words,
    in_words,
    mean_and_std,
    rounded,
)
from .run_record import RunRecord, Validation

BASELINE = "bert-a"
LOSS = "loss"
_DPI = 150


class OtherRunsError(ValueError):
    """A folder holds runs that are no pre-trainings; the message names one."""


@dataclass(frozen=True)
class Crossing:
    """Where a run has reached its baseline's last loss, as shares of the baseline's whole run."""

    updates: float
    seconds: float


@dataclass(frozen=True)
class SchemeResult:
    """The runs of one scheme, beside those of the baseline with the same seeds."""

    arm: Arm
    difference: PairedDifference | None
    """Of the last losses."""
    crossings: tuple[Crossing | None, ...]
    """Of each seed that both have; None: it never gets there."""

    @property
    def scheme(self) -> str:
        return self.arm.question.model


def refuse_other_runs(runs: Mapping[Path, RunRecord]) -> None:
    """Those of a sweep over tasks have other metrics, and no scheme.

    Raises:
        OtherRunsError: there is one.
    """
    for folder, run in runs.items():
        if run.task != TASK:
            raise OtherRunsError(
                f"{folder} is a run of {run.task} and no pre-training: give a folder of its own; "
                "`tupe report` has the table of such runs"
            )


def compare(runs: Iterable[RunRecord], *, baseline: str = BASELINE) -> list[SchemeResult]:
    """A result for each scheme, in the order of the runs.

    Raises:
        UnknownBaselineError: no run is of this baseline, and it is not the usual one.
    """
    arms = arms_of(runs)
    schemes = list(dict.fromkeys(arm.question.model for arm in arms))
    if baseline not in (BASELINE, *schemes):
        raise UnknownBaselineError(
            f"--baseline {baseline}: no run has such a scheme; there are {', '.join(schemes)}"
        )
    bases = {_kind(arm): arm for arm in arms if arm.question.model == baseline}
    results = []
    for arm in arms:
        base = bases.get(_kind(arm))
        of_base = {} if base is None else {run.seed: run for run in base.counted}
        results.append(
            SchemeResult(
                arm,
                None
                if arm is base
                else paired_difference(_losses(arm.counted), _losses(of_base.values())),
                tuple(
                    crossing(run, of_base[run.seed]) for run in arm.counted if run.seed in of_base
                ),
            )
        )
    return results


def _kind(arm: Arm) -> tuple[object, ...]:
    """What an arm and its baseline have in common: task, architecture and rate."""
    return arm.question.task, arm.question.strategy, arm.lr


def crossing(run: RunRecord, baseline: RunRecord) -> Crossing | None:
    """Where the run's loss is first at or below the baseline's last one; None: nowhere."""
    end = baseline.validations[-1]
    for validation in run.validations:
        if validation.scores[LOSS] <= end.scores[LOSS]:
            return Crossing(
                validation.update / end.update,
                validation.seconds / end.seconds if end.seconds else float("nan"),
            )
    return None


def comparison_columns(baseline: str = BASELINE) -> list[Column]:
    """The table's."""

    def last_losses(result: SchemeResult) -> str:
        return mean_and_std([*_losses(result.arm.counted).values()])

    return [
        Column("scheme", lambda result: result.scheme, is_text=True),
        Column("seeds", lambda result: str(len(result.arm.counted))),
        Column("last loss: mean ± std", last_losses),
        Column(f"minus {baseline}'s", lambda result: difference_in_words(result.difference)),
        Column(f"reaches {baseline}'s last loss: updates", _shares("updates")),
        Column("seconds", _shares("seconds")),
        Column("s a run", lambda result: rounded(result.arm.seconds)),
        Column(
            "not counted",
            lambda result: in_words(result.arm.uncounted),
            is_text=True,
            always=False,
        ),
    ]


def comparison_notes(results: Sequence[SchemeResult], baseline: str = BASELINE) -> list[str]:
    """How to read the table."""
    updates = sorted({run.updates for result in results for run in result.arm.counted})
    validations = sorted({len(run.validations) for one in results for run in one.arm.counted})
    return [
        "Loss: bits a masked token, on held-out text; lower is better.",
        f"Budget: {' or '.join(f'{number:,}' for number in updates)} updates, validated "
        f"{' or '.join(map(str, validations))} times; the rate falls to zero at its end, for all.",
        f"Reaches: the first validation at or below the last loss of {baseline} with the same "
        "seed, in percent of that run's updates and seconds; median over the seeds. The TUPE "
        "paper has 30 % of the updates: of a base-size model, 1M updates and the GLUE average.",
        f"(a to b): the smallest and the largest of the seeds; fewer than {FEWEST_PAIRS} make no "
        "interval.",
    ]


def curves_as_csv(results: Sequence[SchemeResult]) -> str:
    """Every validation of the finished runs, a row each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["scheme", "seed", "update", "seconds", "loss"])
    for result in results:
        for run in result.arm.counted:
            for one in run.validations:
                row = [result.scheme, run.seed, one.update, one.seconds, one.scores[LOSS]]
                writer.writerow(row)
    return text.getvalue()


def _losses(runs: Iterable[RunRecord]) -> dict[int, float]:
    return {run.seed: run.validations[-1].scores[LOSS] for run in runs}


def _shares(what: str) -> Callable[[SchemeResult], str]:
    """A cell: how much of the baseline's run it takes, or that it never gets there."""

    def cell(result: SchemeResult) -> str:
        seeds = len(result.crossings)
        shares = [getattr(one, what) for one in result.crossings if one is not None]
        if not shares:
            return "never" if seeds else NOTHING
        text = f"{statistics.median(shares):.0%}"
        if min(shares) != max(shares):
            text += f" ({min(shares):.0%} to {max(shares):.0%})"
        never = seeds - len(shares)
        return text + f"; never in {never} of {seeds} seeds" * bool(never)

    return cell


def comparison_pictures(results: Sequence[SchemeResult]) -> list[Picture]:
    """Validation loss by update and by second."""
    shown = [result for result in results if result.arm.counted]
    if not shown:
        return []
    last = "; ".join(
        f"{one.scheme} {statistics.median(_losses(one.arm.counted).values()):.3f}" for one in shown
    )
    return [
        Picture(
            f"Validation loss by {axis}",
            f"Validation loss of each scheme by {axis}, a line for each seed. At the end: {last}",
            svg_of(partial(put_losses, results=shown, axes=(axis,)), width=5.2, height=3.6),
        )
        for axis in _AXES
    ]


_AXES: dict[str, Callable[[Validation], float]] = {
    "update": lambda validation: validation.update,
    "second": lambda validation: validation.seconds,
}


def draw_losses(results: Sequence[SchemeResult], output: Path) -> None:
    """Write the same two panels as a picture of its own.

    Raises:
        OSError: the file cannot be written.
        ValueError: its ending names no format of pictures.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    put_losses(figure, results)
    for axes in figure.axes:
        axes.grid(True, alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(output, dpi=_DPI)


def put_losses(
    figure: Any, results: Sequence[SchemeResult], axes: Sequence[str] = tuple(_AXES)
) -> None:
    """Put a panel for each axis on a figure: a colour for each scheme, a line for each seed."""
    panels = figure.subplots(1, len(axes), sharey=True, squeeze=False)[0]
    for panel, axis in zip(panels, axes, strict=True):
        for number, result in enumerate(results):
            for seed, run in enumerate(result.arm.counted):
                panel.plot(
                    [_AXES[axis](validation) for validation in run.validations],
                    [validation.scores[LOSS] for validation in run.validations],
                    color=look_of(number)["color"],
                    linestyle=("-", "--", ":", "-.")[seed % 4],
                    linewidth=1.5,
                    label=label_of(result.scheme) if seed == 0 and panel is panels[0] else None,
                )
        panel.set_xlabel(f"{axis}s")
    panels[0].set_ylabel("validation loss (bits)")
    put_legend(figure, panels[0])
