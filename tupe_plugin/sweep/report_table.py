"""A report as a table: cells for people (terminal, Markdown, page), and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .arms import Arm
from .option_words import shown
from .paired_difference import PairedDifference
from .report import Report, Row
from .run_record import FINISHED, STATES, is_number

NOTHING = "-"


class Column(NamedTuple):
    """A title and what stands below it; a column of nothing is left out, if it may be."""

    title: str
    cell: Callable[[Any], str]
    is_text: bool = False
    always: bool = True


def columns(also: Sequence[str] = ()) -> list[Column]:
    """Those of the table; `also` are further metrics."""
    return [
        Column("task", lambda row: row.arm.question.task, is_text=True),
        Column("model", lambda row: row.arm.question.model, is_text=True),
        Column("strategy", lambda row: row.arm.question.strategy, is_text=True),
        Column("metric", lambda row: row.arm.question.metric.name, is_text=True),
        Column("rate", lambda row: shown(row.arm.lr) if row.arm.lr else NOTHING, always=False),
        Column("setting", lambda row: _setting(row.arm), is_text=True, always=False),
        Column("seeds", lambda row: str(len(row.arm.counted))),
        Column("best: median", lambda row: _score(row.arm.median) if row.arm.counted else NOTHING),
        Column("best: mean ± std", lambda row: mean_and_std(row.arm.best())),
        Column("last: mean ± std", lambda row: mean_and_std(row.arm.last())),
        *(_further(name) for name in also),
        Column("difference", lambda row: difference_in_words(row.difference), always=False),
        Column("published", _published, is_text=True, always=False),
        Column("s a run", lambda row: rounded(row.arm.seconds)),
        Column("peak MB", lambda row: rounded(row.arm.peak_memory, 1e6), always=False),
        Column("not counted", lambda row: in_words(row.uncounted), is_text=True, always=False),
    ]


def table_cells(report: Report) -> tuple[list[Column], list[list[str]]]:
    """The columns of a report that say something, and the cells of each chosen row."""
    return filled(columns(report.also), report.chosen)


def filled(columns: Sequence[Column], rows: Sequence[Any]) -> tuple[list[Column], list[list[str]]]:
    """The columns that say something of these rows, and the cells of each row."""
    cells = [(column, [column.cell(row) or NOTHING for row in rows]) for column in columns]
    kept = [(column, found) for column, found in cells if column.always or {*found} != {NOTHING}]
    by_row = zip(*(found for _, found in kept), strict=True)
    return [column for column, _ in kept], [list(row) for row in by_row]


def markdown(report: Report) -> str:
    """The table and the notes."""
    return markdown_text(*table_cells(report), report.notes())


def markdown_text(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], notes: Sequence[str]
) -> str:
    """A table whose columns stand below each other in a terminal too, and a list of notes."""
    lines = [*_table(columns, rows), "", *(f"- {_escaped(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    titles = [column.title for column in columns]
    table = [titles, *([_escaped(cell) for cell in row] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    shapes = list(zip(columns, widths, strict=True))
    rule = ["-" * width if one.is_text else "-" * (width - 1) + ":" for one, width in shapes]
    return [
        "| "
        + " | ".join(
            cell.ljust(width) if one.is_text else cell.rjust(width)
            for cell, (one, width) in zip(row, shapes, strict=True)
        )
        + " |"
        for row in (titles, rule, *table[1:])
    ]


def comma_separated(report: Report) -> str:
    """Every rate and setting in full precision, a row each; `chosen` are those of the table."""
    text = io.StringIO()
    rows = [_record(row, report.also) for row in report.rows]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _record(row: Row, also: Sequence[str]) -> dict[str, object]:
    arm, difference = row.arm, row.difference
    uncounted = arm.uncounted
    record: dict[str, object] = {
        **arm.question._asdict(),
        "metric": arm.question.metric.name,
        "higher_is_better": arm.question.metric.more_is_better,
        "lr": arm.lr,
        "setting": json.dumps(arm.setting, sort_keys=True, default=str),
        "chosen": row.chosen,
        "seeds": " ".join(str(run.seed) for run in arm.counted),
        "best_median": arm.median if arm.counted else None,
    }
    scores = {"best": arm.best(), "last": arm.last()}
    scores |= {f"best_{metric}": arm.best(metric) for metric in also}
    for name, values in scores.items():
        record[f"{name}_mean"] = statistics.mean(values) if values else None
        record[f"{name}_std"] = _deviation(values)
    published = (f"{one.value:g} {one.model} ({one.source})" for one in row.published)
    record |= {
        "difference": difference and difference.mean,
        "interval_low": difference.low if difference and difference.is_interval else None,
        "interval_high": difference.high if difference and difference.is_interval else None,
        "published": "; ".join(published),
        "seconds": arm.seconds,
        "peak_memory": arm.peak_memory,
    }
    return record | {
        f"not_counted_{state}": uncounted[state] for state in STATES if state != FINISHED
    }


def _further(name: str) -> Column:
    return Column(f"{name}: mean ± std", lambda row: mean_and_std(row.arm.best(name)))


def _setting(arm: Arm) -> str:
    return ", ".join(f"{name} {value}" for name, value in arm.setting.items())


def _score(value: float) -> str:
    return f"{value:.4g}"


def mean_and_std(values: Sequence[float]) -> str:
    """Mean and sample standard deviation; no deviation of one value."""
    if not values:
        return NOTHING
    mean, deviation = _score(statistics.mean(values)), _deviation(values)
    return mean if deviation is None else f"{mean} ± {deviation:.2g}"


def _deviation(values: Sequence[float]) -> float | None:
    """None where there is none: of one value, and of what is no number."""
    return statistics.stdev(values) if len(values) > 1 and all(map(is_number, values)) else None


def difference_in_words(found: PairedDifference | None) -> str:
    if found is None:
        return NOTHING
    # Two digits of the width say all that can be known of its ends.
    width = found.high - found.low or abs(found.mean) or 1.0
    if not is_number(width):
        return "no number"
    decimals = max(0, 1 - math.floor(math.log10(width)))
    form = f"+.{decimals}f" if abs(found.mean) < 1e6 else "+.2e"
    mean, low, high = (format(value, form) for value in (found.mean, found.low, found.high))
    if found.is_interval:
        return f"{mean} [{low}, {high}]"
    return f"{mean} ({low} to {high})" if found.pairs > 1 else f"{mean} (1 seed)"


def in_words(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items()))


def _published(row: Row) -> str:
    return ", ".join(f"{_score(one.value)} {one.model}" for one in row.published)


def rounded(value: float | None, unit: float = 1.0) -> str:
    return NOTHING if value is None else f"{value / unit:.0f}"


def _escaped(cell: str) -> str:
    """As Markdown shows it: a strategy's name may hold anything."""
    return _one_line(cell).replace("\\", "\\\\").replace("|", "\\|").replace("<", "\\<")


def _one_line(text: str) -> str:
    return " ".join(text.split())
