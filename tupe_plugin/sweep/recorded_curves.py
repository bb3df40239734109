"""The curves of one training, from its `run.json` or from fairseq's log, whichever is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .fairseq_log import TrainingLog, read_log
from .run_record import RUN_FILE, RunRecord, is_number


def read_curves(path: Path) -> TrainingLog:
    """Of a `run.json`, of a folder that has one, or of a log.

    Raises:
        UnreadableRunError, UnreadableLogError: it is neither.
        OSError: it cannot be read.
    """
    if path.name != RUN_FILE and not (path / RUN_FILE).is_file():
        return read_log(path)
    run = RunRecord.read(path)
    return TrainingLog(
        train={one.update: _numbers({"loss": one.loss}) for one in run.train},
        valid={"valid": {one.update: _numbers(one.scores) for one in run.validations}},
    )


def name_of(path: Path) -> str:
    """The folder of the training, by which people know it."""
    path = path.resolve()
    return path.name if path.is_dir() else path.parent.name


def _numbers(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if is_number(value)}
