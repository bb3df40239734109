"""Runs that are done some at a time, each until it finishes, diverges or fails for good.

What a run has come to is in its `run.json`, and nowhere else. So a sweep that was killed goes on
with what it finds, and no run is done twice. A job that goes away without having written an end has
been killed: it is started again, and goes on from its checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from .grid import WITHOUT_EFFECT_ON_SCORES, Run
from .job import REFUSED, record_of
from .option_words import shown
from .run_checkpoints import mark_untidied, set_aside, tidy
from .run_lock import end_what_is_left, is_busy
from .run_record import (
    DIVERGED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    RunRecord,
    UnreadableRunError,
)

DONE = (FINISHED, DIVERGED)
_PATIENCE = 20.0  # seconds for jobs that were told to end


class OtherRunError(ValueError):
    """A folder holds another run than the one that belongs there."""


class Started(Protocol):
    """A job at work."""

    def done(self) -> bool: ...

    def cancel(self) -> None: ...


class Launcher(Protocol):
    """Where jobs are started."""

    at_once: int

    def start(self, run: Run, place: int) -> Started:
        """Start a run, as number `place` of those at work."""
        ...


class _Elsewhere:
    """A run at which the job of a sweep is at work that was killed itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def done(self) -> bool:
        return not is_busy(self._folder)

    def cancel(self) -> None:
        end_what_is_left(self._folder)


@dataclass
class Pool:
    """The runs of a sweep, and how far each is.

    Args:
        runs: in order; the parent of an average before it.
        launcher: starts them.
        retries: of a run that fails or is killed.
        keep: of the checkpoints that its runs write, one of `run_checkpoints.KEEP`. Those of runs
            that were done before stay as they are.
        tell: is called with a run and its record when it has ended, and with None from time to
            time.
        poll: seconds between two looks at the jobs.
    """

    runs: Sequence[Run]
    launcher: Launcher
    retries: int = 2
    keep: str = "none"
    tell: Callable[[Run | None, RunRecord | None], None] = lambda run, record: None
    poll: float = 0.2
    ended: dict[Path, RunRecord] = field(default_factory=dict)
    at_work: dict[Path, tuple[Run, Started, int]] = field(default_factory=dict)
    waiting: list[Run] = field(default_factory=list)
    _attempts: dict[Path, int] = field(default_factory=dict)
    _again: set[Path] = field(default_factory=set)
    """Runs that are done, and trained again for the epochs that an average needs."""

    def __post_init__(self) -> None:
        """Look at what is there.

        Raises:
            OtherRunError: a folder holds a run with other settings.
            UnreadableRunError: a `run.json` is damaged.
        """
        for run in self.runs:
            try:
                record = record_of(run)
            except UnreadableRunError as error:
                raise UnreadableRunError(
                    f"{error}; move {run.folder} away to train that run again"
                ) from error
            if record.key != run.key:
                raise OtherRunError(f"{run.folder} holds another run: {_difference(record, run)}")
            if record.state in DONE:
                self.ended[run.folder] = record
        for run in self.runs:
            parent = run.parent
            if parent is None or run.folder in self.ended or _has_checkpoints(run):
                continue
            known = self.ended.get(parent.folder)
            if known is not None and known.state == FINISHED:
                del self.ended[parent.folder]
                self._again.add(parent.folder)
        self.waiting = [run for run in self.runs if run.folder not in self.ended]

    def work(self) -> None:
        """Until every run has ended; what is at work ends with this, however that ends."""
        for run in self.runs:
            known = self.ended.get(run.folder)
            if known is not None and known.command == run.command:
                self._tidy(run)  # which the same sweep has left, as it was killed
        try:
            while self.waiting or self.at_work:
                self._start_some()
                if not self._collect():
                    time.sleep(self.poll)
                self.tell(None, None)
        finally:
            self._stop()

    def count(self, state: str) -> int:
        """Of the runs that have ended."""
        return sum(record.state == state for record in self.ended.values())

    def _start_some(self) -> None:
        free = [n for n in range(self.launcher.at_once) if n not in self._places()]
        for run in list(self.waiting):
            if not free:
                return
            if self._waits_for_its_parent(run):
                continue
            self.waiting.remove(run)
            without = self._why_there_is_nothing_to_average(run)
            if without is not None:
                self._end(run, without)
                continue
            if is_busy(run.folder):
                self.at_work[run.folder] = (run, _Elsewhere(run.folder), free.pop(0))
                continue
            record = record_of(run)
            if run.folder in self._again:
                self._again.remove(run.folder)
                set_aside(run.folder)
            elif record.state in DONE:  # by a job of another sweep, since this one has begun
                self._end(run, record)
                continue
            mark_untidied(run.folder)
            place = free.pop(0)
            self.at_work[run.folder] = (run, self.launcher.start(run, place), place)

    def _places(self) -> set[int]:
        return {place for _, _, place in self.at_work.values()}

    def _collect(self) -> bool:
        """Whether a job has ended."""
        over = [run for run, job, _ in self.at_work.values() if job.done()]
        for run in over:
            del self.at_work[run.folder]
            end_what_is_left(run.folder)
            record = record_of(run)
            if record.state not in (*DONE, FAILED):
                record = replace(record, state=INTERRUPTED, reason="killed")
            attempts = self._attempts[run.folder] = self._attempts.get(run.folder, 0) + 1
            again = record.state not in DONE and not record.reason.startswith(REFUSED)
            if again and attempts <= self.retries:
                self.waiting.insert(0, run)
            else:
                self._end(run, record)
        return bool(over)

    def _end(self, run: Run, record: RunRecord) -> None:
        if record.state not in DONE:
            record = replace(record, state=FAILED)
        run.folder.mkdir(parents=True, exist_ok=True)
        record.write(run.folder)
        self.ended[run.folder] = record
        self._tidy(run if run.parent is None else run.parent)
        self._tidy(run)
        self.tell(run, record)

    def _waits_for_its_parent(self, run: Run) -> bool:
        return run.parent is not None and run.parent.folder not in self.ended

    def _why_there_is_nothing_to_average(self, run: Run) -> RunRecord | None:
        parent = None if run.parent is None else self.ended[run.parent.folder]
        if parent is None or parent.state == FINISHED:
            return None
        reason = f"the run that it is made of has {parent.state}: {parent.reason}"
        return replace(record_of(run), state=parent.state, reason=reason)

    def _tidy(self, run: Run) -> None:
        """Remove the checkpoints that nobody has asked for and nobody needs any more."""
        averages = [one for one in self.runs if one.parent == run]
        if all(map(self._is_done, [run, *averages])):
            tidy(run.folder, self.keep)

    def _is_done(self, run: Run) -> bool:
        record = self.ended.get(run.folder)
        return record is not None and record.state in DONE

    def _stop(self) -> None:
        """End all that is at work, and wait until it is gone."""
        last = time.monotonic() + _PATIENCE
        left = [job for _, job, _ in self.at_work.values()]
        while left and time.monotonic() < last:
            for job in left:
                job.cancel()  # a job that is just starting may not hear it the first time
            time.sleep(self.poll)
            left = [job for job in left if not job.done()]
        for run, _, _ in self.at_work.values():
            end_what_is_left(run.folder)
            record = record_of(run)
            if record.state == RUNNING:
                replace(record, state=INTERRUPTED, reason="stopped").write(run.folder)
            elif record.state in DONE:  # just before it could be told to end
                self._end(run, record)


def _has_checkpoints(run: Run) -> bool:
    """Whether the epochs are there of which it is the average."""
    return all(Path(word).is_file() for word in run.command if "/checkpoint" in word)


def _difference(record: RunRecord, run: Run) -> str:
    """In the words of the options; what the data and the checkpoint held is in the key alone."""
    theirs, ours = (
        {
            name: shown(value)
            for name, value in options.items()
            if name not in WITHOUT_EFFECT_ON_SCORES
        }
        for options in (record.configuration, run.configuration)
    )
    for name in {**theirs, **ours}:
        there, here = (options.get(name, "not given") for options in (theirs, ours))
        if there != here:
            return f"{name} is {there} there and {here} here; name another folder"
    return "its data or its checkpoint were others; name another folder"
