"""Learning curves of one or more runs: training as a thin line, validation as points joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..sweep.fairseq_log import Curve, TrainingLog, UnreadableLogError
from ..sweep.recorded_curves import name_of, read_curves

METRICS = {  # in order of preference: what a log is about -> label of its axis
    "accuracy": "accuracy (%)",
    "ppl": "perplexity, logarithmic",
    "loss": "loss",
}
LOGARITHMIC = {"ppl"}
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_DPI = 150


@dataclass(frozen=True)
class Run:
    """A named log and the metric to draw from it."""

    name: str
    metric: str
    log: TrainingLog


def read_runs(arguments: Sequence[str], *, metric: str | None = None) -> list[Run]:
    """Read logs or runs given as `LOG` or `NAME=LOG`; without a metric, each one's most telling.

    Raises:
        UnreadableLogError: a log cannot be read, or has no such metric.
    """
    runs = []
    for argument in arguments:
        name, separator, rest = argument.partition("=")
        path = Path(rest if separator else argument)
        log = read_curves(path)
        known = log.metrics()
        chosen = metric or next((name for name in METRICS if name in known), None)
        if chosen not in known:
            raise UnreadableLogError(
                f"{path}: no metric {chosen or ' or '.join(METRICS)!r} in it; "
                f"it has {', '.join(sorted(known))}"
            )
        runs.append(Run(name if separator else name_of(path), chosen, log))
    return runs


def draw_learning_curve(runs: Sequence[Run], output: Path, *, title: str) -> None:
    """Write the picture: a panel for each metric, a colour for each name.

    Raises:
        OSError: the file cannot be written.
        ValueError: its ending names no format of pictures.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    metrics = list(dict.fromkeys(run.metric for run in runs))
    names = list(dict.fromkeys(run.name for run in runs))
    colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(names)}
    figure = Figure(figsize=(5.4 * len(metrics), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        for run in (run for run in runs if run.metric == metric):
            _draw_run(axes, run, colours[run.name])
        axes.set_xlabel("updates")
        axes.set_ylabel(METRICS.get(metric, metric))
        axes.set_xlim(left=0)
        axes.grid(True, alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        if metric in LOGARITHMIC:
            axes.set_yscale("log")
            axes.set_yticks(_round_ticks(*axes.get_ylim()))
            axes.yaxis.set_major_formatter(ScalarFormatter())
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend(frameon=False, fontsize="small")
    figure.savefig(output, dpi=_DPI)


def _draw_run(axes: Any, run: Run, colour: str) -> None:
    updates, values = _points(run.log.train, run.metric)
    if updates:
        axes.plot(
            updates, values, color=colour, linewidth=1, alpha=0.45, label=f"{run.name}, train"
        )
    for number, (subset, curve) in enumerate(sorted(run.log.valid.items())):
        updates, values = _points(curve, run.metric)
        axes.plot(
            updates,
            values,
            color=colour,
            linewidth=1.8,
            linestyle=("-", "--", ":")[number % 3],
            marker="o",
            markersize=4,
            label=f"{run.name}, {subset}",
        )


def _points(curve: Curve, metric: str) -> tuple[list[int], list[float]]:
    points = sorted((update, point[metric]) for update, point in curve.items() if metric in point)
    return [update for update, _ in points], [value for _, value in points]


def _round_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between two positive numbers."""
    ticks = [step * 10.0**power for power in range(-6, 10) for step in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]
