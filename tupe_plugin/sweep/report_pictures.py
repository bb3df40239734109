"""The pictures of a report, as SVG that follows a page's light or dark colours.

Text and axes have the page's colour; what the data have are colours that stand out on both.
"""

from __future__ import annotations

import io
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..compat.metric_direction import Metric
from .arms import Arm, Question
from .option_words import shown
from .report import Report, Row
from .run_record import RunRecord, is_number

COLOURS = ("#2f86c9", "#d9601a", "#17976b", "#c2679f", "#c99412", "#7b6fd0", "#8a8a8a")
_MOST_LINES = 8  # in a picture of several models
_MARKS = ("o", "s", "^", "D")
_INK = "#010203"  # what `currentColor` takes the place of; no data has this colour
_STYLE = {
    "text.parse_math": False,  # a strategy's name may hold a $
    "svg.fonttype": "none",
    "svg.hashsalt": "tupe report",  # the same runs, the same bytes
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.2,
    "grid.color": "#808080",
    "legend.frameon": False,
    "legend.fontsize": "small",
}
_FOLLOW_THE_PAGE = (
    "<style>svg{color:#1b1f24;font-family:system-ui,sans-serif}"
    "@media (prefers-color-scheme:dark){svg{color:#e6e8ea}}</style>"
)


class Picture(NamedTuple):
    """A picture, and what it shows in words."""

    title: str
    alternative: str
    svg: str


def svg_of(draw: Callable[[Any], None], *, width: float, height: float) -> str:
    """What `draw` puts on a figure of these inches."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    text = io.StringIO()
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    start = svg.index("<svg")
    behind = svg.index(">", start) + 1
    return svg[start:behind] + _FOLLOW_THE_PAGE + svg[behind:].replace(_INK, "currentColor")


def pictures_of(report: Report) -> Iterator[Picture]:
    """For each task and metric: learning curves, spread over the seeds, sensitivity to the rate.

    Models share a picture where it stays readable.
    """
    groups: dict[tuple[str, Metric], list[Row]] = defaultdict(list)
    for row in report.rows:
        if row.arm.counted:
            groups[row.arm.question.task, row.arm.question.metric].append(row)
    for (task, metric), rows in groups.items():
        by_model: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            by_model[row.arm.question.model].append(row)
        together = sum(row.chosen for row in rows) <= _MOST_LINES or len(by_model) == 1
        for model, members in {"": rows}.items() if together else by_model.items():
            place = ", ".join(filter(None, (task, model)))
            yield from _pictures_of_group(place, metric.name, members)


def _pictures_of_group(place: str, metric: str, rows: Sequence[Row]) -> Iterator[Picture]:
    lines = {row.arm.question: row.arm for row in rows if row.chosen}
    if not lines:
        return
    names = _names(lines)
    arms = {names[question]: arm for question, arm in lines.items()}
    yield _learning_curves(place, metric, arms)
    yield _spread(place, metric, arms)
    rates: dict[str, list[Arm]] = defaultdict(list)
    for row in rows:
        if row.arm.question in names:
            rates[names[row.arm.question]].append(row.arm)
    if any(len({arm.lr for arm in group}) > 1 for group in rates.values()):
        yield _rates(place, metric, rates)


def _names(questions: Iterable[Question]) -> dict[Question, str]:
    """What each is called beside the others: model, strategy, or both, whichever differ."""
    questions = list(questions)
    by_model = len({question.model for question in questions}) > 1
    by_strategy = len({question.strategy for question in questions}) > 1 or not by_model
    return {
        question: ", ".join([question.model] * by_model + [question.strategy] * by_strategy)
        for question in questions
    }


def _learning_curves(place: str, metric: str, arms: Mapping[str, Arm]) -> Picture:
    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for number, (name, arm) in enumerate(arms.items()):
            curves = _curves(arm.counted, metric)
            updates = [update for update, _ in curves]
            axes.plot(
                updates,
                [statistics.median(values) for _, values in curves],
                label=label_of(name),
                markersize=4,
                **look_of(number),
            )
            axes.fill_between(
                updates,
                [min(values) for _, values in curves],
                [max(values) for _, values in curves],
                color=COLOURS[number % len(COLOURS)],
                alpha=0.15,
                linewidth=0,
            )
        axes.set_xlabel("updates")
        axes.set_ylabel(f"{metric} on the dev set")
        put_legend(figure, axes)

    words = "; ".join(
        f"{name} from {first:.4g} to {last:.4g}"
        for name, arm in arms.items()
        for first, last in [_ends(_curves(arm.counted, metric))]
    )
    return Picture(
        f"Learning curves: {place}",
        f"{metric} on the dev set by updates, median and range of the seeds: {words}",
        svg_of(draw, width=5.2, height=3.4),
    )


def _curves(runs: Sequence[RunRecord], metric: str) -> list[tuple[int, list[float]]]:
    """Update -> the scores of the seeds, of the updates at which all have one."""
    points: dict[int, list[float]] = defaultdict(list)
    for run in runs:
        for validation in run.validations:
            if is_number(score := validation.scores[metric]):
                points[validation.update].append(score)
    return sorted((update, values) for update, values in points.items() if len(values) == len(runs))


def _ends(curve: Sequence[tuple[int, list[float]]]) -> tuple[float, float]:
    if not curve:
        return float("nan"), float("nan")
    return statistics.median(curve[0][1]), statistics.median(curve[-1][1])


def _spread(place: str, metric: str, arms: Mapping[str, Arm]) -> Picture:
    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for number, arm in enumerate(arms.values()):
            place_of_line = len(arms) - 1 - number
            colour = look_of(number)["color"]
            scores = arm.best()
            axes.scatter(scores, [place_of_line] * len(scores), color=colour, alpha=0.75, s=28)
            ends = [place_of_line - 0.3, place_of_line + 0.3]
            axes.plot([arm.median] * 2, ends, color=colour, linewidth=2)
        axes.set_yticks(range(len(arms)), [label_of(name) for name in reversed(list(arms))])
        axes.set_ylim(-0.6, len(arms) - 0.4)
        axes.set_xlabel(f"best {metric} of each seed; line: median")

    words = "; ".join(
        f"{name} {', '.join(f'{score:.4g}' for score in arm.best())}" for name, arm in arms.items()
    )
    return Picture(
        f"Spread over seeds: {place}",
        f"Best {metric} of each seed: {words}",
        svg_of(draw, width=5.2, height=1.0 + 0.34 * len(arms)),
    )


def _rates(place: str, metric: str, arms_by_name: Mapping[str, Sequence[Arm]]) -> Picture:
    def best_of_rates(arms: Sequence[Arm]) -> list[Arm]:
        """Of each rate the best setting, by rate."""
        found: dict[float, Arm] = {}
        for arm in arms:
            known = found.get(arm.lr)
            goodness = arm.question.metric.goodness
            if known is None or goodness(arm.median) > goodness(known.median):
                found[arm.lr] = arm
        return [found[rate] for rate in sorted(found)]

    def draw(figure: Any) -> None:
        from matplotlib.ticker import NullFormatter, NullLocator

        axes = figure.subplots()
        rates: set[float] = set()
        for number, (name, arms) in enumerate(arms_by_name.items()):
            line = best_of_rates(arms)
            axes.plot(
                [arm.lr for arm in line],
                [arm.median for arm in line],
                label=label_of(name),
                markersize=5,
                **look_of(number),
            )
            for arm in line:
                rates.add(arm.lr)
                scores = arm.best()
                axes.scatter(
                    [arm.lr] * len(scores), scores, color=look_of(number)["color"], s=10, alpha=0.5
                )
        axes.set_xscale("log")
        axes.set_xticks(sorted(rates), [shown(rate) for rate in sorted(rates)], rotation=35)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("learning rate")
        axes.set_ylabel(f"best {metric}: median")
        put_legend(figure, axes)

    words = "; ".join(
        f"{name} "
        + ", ".join(f"{arm.median:.4g} at {shown(arm.lr)}" for arm in best_of_rates(arms))
        for name, arms in arms_by_name.items()
    )
    return Picture(
        f"Sensitivity to the rate: {place}",
        f"Median over the seeds of the best {metric} against the learning rate: {words}",
        svg_of(draw, width=5.2, height=3.4),
    )


def look_of(number: int) -> dict[str, Any]:
    """Colour, line and mark of the n-th strategy: no two of 28 are alike."""
    turn = number // len(COLOURS)
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": ("-", "--", "-.", ":")[turn % 4],
        "marker": _MARKS[turn % 4],
    }


def put_legend(figure: Any, axes: Any) -> None:
    count = len(axes.get_legend_handles_labels()[1])
    if count:
        figure.legend(loc="outside lower center", ncols=min(count, 3))


def label_of(name: str) -> str:
    """matplotlib leaves out of a legend what begins with an underscore."""
    shown = name if len(name) <= 40 else name[:39] + "…"
    return f"\u200b{shown}" if shown.startswith("_") else shown
