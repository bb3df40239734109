"""Takes a run's scores where fairseq shows them, and keeps its `run.json` up to date.

fairseq hands every figure that it logs to a progress bar: those of each `--log-interval`, and those
of each validation of a whole dev set. The bar of `recorded_progress` passes them on.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..compat.validation_plan import NO_METRICS
from .run_record import RunRecord, TrainPoint, Validation

FIRST_SUBSET = "valid"
_INNER = "train_inner"
_EPOCH = "train"
_NO_SCORES = NO_METRICS | {"num_updates", "ups", "wall", "train_wall", "gb_free"}
_LONGEST_SILENCE = 5.0  # seconds of training that a `run.json` may lag behind


class DivergedError(FloatingPointError):
    """The loss is no number any more; the message says where."""


class Recorder:
    """The record of a run that is being trained.

    Args:
        record: what is known of it, from earlier attempts too.
        path: the folder of its `run.json`.
        clock: seconds, from any moment on.
    """

    def __init__(
        self, record: RunRecord, path: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.record = record
        self._path, self._clock = path, clock
        self._before = record.seconds
        self._start: float | None = None
        self._written = -math.inf
        self._is_new = False  # whether this attempt has told something

    def begin(self) -> None:
        """Training begins; what came before is not counted."""
        if self._start is None:
            self._start = self._clock()

    def train(self, update: int, loss: float) -> None:
        """The training loss at one update.

        Raises:
            DivergedError: it is no number.
        """
        self._forget_from(update)
        point = TrainPoint(update, self._seconds(), loss)
        self._keep(train=(*self.record.train, point), updates=update)
        if self._clock() - self._written > _LONGEST_SILENCE:
            self.write()
        _check(loss, f"the training loss at update {update}")

    def validation(self, subset: str, update: int, epoch: int, scores: dict[str, float]) -> None:
        """The scores of a whole dev set; those of further sets get its name in front.

        Raises:
            DivergedError: the loss is no number.
        """
        done = self.record.validations
        if subset != FIRST_SUBSET and done and done[-1].update == update:
            more = {f"{subset}_{name}": score for name, score in scores.items()}
            together = replace(done[-1], scores={**done[-1].scores, **more})
            self._keep(validations=(*done[:-1], together))
        else:
            self._forget_from(update)
            validation = Validation(update, epoch, self._seconds(), scores)
            self._keep(validations=(*self.record.validations, validation), updates=update)
        self.write()
        _check(scores.get("loss", 0.0), f"the loss of {subset} at update {update}")

    def write(self, **changes: Any) -> None:
        """Write `run.json`, with the time up to now."""
        self._keep(seconds=self._seconds(), **changes)
        self.record.write(self._path)
        self._written = self._clock()

    def _forget_from(self, update: int) -> None:
        """What an earlier attempt has reached, and this one reaches again from its checkpoint."""
        if not self._is_new:
            record = self.record
            self._keep(
                train=tuple(one for one in record.train if one.update < update),
                validations=tuple(one for one in record.validations if one.update < update),
            )
        self._is_new = True

    def _keep(self, **changes: Any) -> None:
        self.record = replace(self.record, **changes)

    def _seconds(self) -> float:
        return self._before + (0.0 if self._start is None else self._clock() - self._start)


@contextlib.contextmanager
def recorded_progress(recorder: Recorder) -> Iterator[None]:
    """fairseq's progress bars tell a recorder what they show."""
    from fairseq.logging import progress_bar

    original = progress_bar.progress_bar

    def open_bar(iterator: Any, *arguments: Any, epoch: int | None = None, **options: Any) -> Any:
        recorder.begin()
        bar = original(iterator, *arguments, epoch=epoch, **options)
        return _Recording(bar, epoch or 0, recorder)

    progress_bar.progress_bar = open_bar
    try:
        yield
    finally:
        progress_bar.progress_bar = original


class _Recording:
    """A progress bar around another one."""

    def __init__(self, bar: Any, epoch: int, recorder: Recorder) -> None:
        self._bar, self._epoch, self._recorder = bar, epoch, recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bar, name)

    def __len__(self) -> int:
        return len(self._bar)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._bar)

    def log(
        self, stats: Mapping[str, Any], tag: str | None = None, step: int | None = None
    ) -> None:
        self._bar.log(stats, tag=tag, step=step)
        if tag == _INNER and step is not None and "loss" in stats:
            self._recorder.train(step, scores_in(stats)["loss"])

    def print(
        self, stats: Mapping[str, Any], tag: str | None = None, step: int | None = None
    ) -> None:
        self._bar.print(stats, tag=tag, step=step)
        if tag not in (None, _EPOCH) and step is not None:
            self._recorder.validation(str(tag), step, self._epoch, scores_in(stats))


def scores_in(stats: Mapping[str, Any]) -> dict[str, float]:
    """Those that are scores: neither counters nor what fairseq knows of the best one."""
    found = {}
    for name, value in stats.items():
        value = getattr(value, "avg", value)  # of a meter
        with contextlib.suppress(TypeError, ValueError):
            if name not in _NO_SCORES and not name.startswith("best_"):
                found[name] = float(value)
    return found


def _check(loss: float, what: str) -> None:
    if not math.isfinite(loss):
        raise DivergedError(f"{what} is {loss}")
