"""How far a sweep is: a bar in a terminal, lines in a log."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from .grid import Run
from .pool import Pool
from .run_record import DIVERGED, FAILED, FINISHED, RunRecord


class Progress:
    """Shows a pool's runs while it works; it is called as its `tell`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._pool: Pool | None = None
        self._last = ""
        self._bar: Any = None

    def begin(self, pool: Pool) -> None:
        from tqdm import tqdm

        self._pool, found = pool, len(pool.ended)
        if self._stream.isatty():
            layout, total = "{bar} {n_fmt}/{total_fmt}, {desc}", len(pool.runs)
            self._bar = tqdm(
                total=total, initial=found, file=self._stream, bar_format=layout, dynamic_ncols=True
            )
        if found:
            self._say(f"{found} of {len(pool.runs)} runs are done already")

    def __call__(self, run: Run | None, record: RunRecord | None) -> None:
        assert self._pool is not None
        if run is not None and record is not None:
            self._say(f"{run.name}: {_end_of(record)}")
        line = self._line(self._pool)
        if self._bar is not None:
            self._bar.n = len(self._pool.ended)
            self._bar.set_description_str(line)
        elif line != self._last and (run is not None or not self._last):
            self._say(f"{len(self._pool.ended)}/{len(self._pool.runs)} done, {line}")
        self._last = line

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        else:
            print(line, file=self._stream, flush=True)

    def _line(self, pool: Pool) -> str:
        counts = [f"{len(pool.at_work)} running", f"{pool.count(FINISHED)} finished"]
        counts += [f"{pool.count(state)} {state}" for state in (FAILED, DIVERGED)]
        left = seconds_left(pool)
        return ", ".join(counts) + ("" if left is None else f", about {_time(left)} left")


def seconds_left(pool: Pool) -> float | None:
    """By what runs of the same task and strategy, of the same task, or any have taken."""
    taken: dict[tuple[str, ...], list[float]] = {}
    for record in pool.ended.values():
        if record.state == FINISHED:
            for kind in _kinds(record.task, record.strategy):
                taken.setdefault(kind, []).append(record.seconds)
    if not taken or len(pool.ended) == len(pool.runs):
        return None
    left = 0.0
    for run in [*pool.waiting, *(run for run, _, _ in pool.at_work.values())]:
        times = next(taken[kind] for kind in _kinds(run.task, run.strategy) if kind in taken)
        share = 0.5 if run.folder in pool.at_work else 1.0  # of those at work, half on average
        left += share * sum(times) / len(times)
    return left / pool.launcher.at_once


def _kinds(task: str, strategy: str) -> tuple[tuple[str, ...], ...]:
    return (task, strategy), (task,), ()


def _end_of(record: RunRecord) -> str:
    scores = record.best_scores
    score = f", {record.metric.name} {scores[record.metric.name]:.4g}" if scores else ""
    reason = f" ({record.reason})" if record.reason else ""
    return f"{record.state}{score}, {_time(record.seconds)}{reason}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
