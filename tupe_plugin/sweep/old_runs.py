"""Runs from before `run.json`: a folder with fairseq's `train.log`, read into a `RunRecord`.

What differs in nothing but the seed lies in one folder (`.../lr5e-5/seed1/train.log`).  Task,
model, rate and seed are those of the log's first line; the strategy is what the folder is called.
Beside the log may lie `peak_memory.txt`, a number of bytes.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePath

from ..compat.metric_direction import Metric
from .fairseq_log import TrainingLog, UnreadableLogError, read_log
from .run_record import FINISHED, INTERRUPTED, RunRecord, TrainPoint, Validation

LOG_FILE = "train.log"
MEMORY_FILE = "peak_memory.txt"

_METRIC = re.compile(r"'best_checkpoint_metric': '(\w+)'")
_MAXIMIZE = re.compile(r"'maximize_best_checkpoint_metric': (True|False)")
_SEED = re.compile(r"'seed': (\d+)")
_RATE = re.compile(r"'lr': \[([\d.e+-]+)")
_DATA = re.compile(r"'data': '([^']*)'")
_ARCH = re.compile(r"'arch': '(\w+)'|'model': (?:Namespace\()?\{'_name': '(\w+)'")
_SECONDS = re.compile(r"done training in ([\d.]+) seconds")
_RATE_FOLDER = re.compile(r"lr([\d.]+(?:e[+-]?\d+)?)")


def read_old_run(log: Path, *, below: Path) -> RunRecord:
    """Read one log of `--log-format json` or `simple`; without its last line it is `interrupted`.

    Args:
        log: the log of the run.
        below: the folder of all runs; the strategy is the path from here to the run.

    Raises:
        UnreadableLogError: it has no training in it, or does not begin with fairseq's settings.
    """
    curves = read_log(log)
    text = log.read_text(encoding="utf-8", errors="replace")
    metric, maximize, seed = (found.search(text) for found in (_METRIC, _MAXIMIZE, _SEED))
    if metric is None or maximize is None or seed is None:
        raise UnreadableLogError(f"{log} does not begin with fairseq-train's settings")
    rate, data, arch, done = (found.search(text) for found in (_RATE, _DATA, _ARCH, _SECONDS))
    lr = float(rate[1]) if rate else 0.0
    task = PurePath(data[1]).name.removesuffix("-bin") if data else "-"
    seconds = _seconds_by_update(curves)
    name = metric[1]
    validations = curves.valid.get("valid", {})
    lacking = next((update for update, scores in validations.items() if name not in scores), None)
    if lacking is not None or (done and not validations):
        raise UnreadableLogError(f"{log} has no {name} of the dev set `valid`")
    return RunRecord(
        key=hashlib.sha256(str(log.resolve()).encode()).hexdigest()[:16],
        task=task,
        model=next(filter(None, arch.groups()), "-") if arch else "-",
        strategy=_strategy(log.parent.parent, below=below, task=task, lr=lr),
        lr=lr,
        seed=int(seed[1]),
        setting={},
        command=(),
        configuration={},
        versions={},
        hardware="",
        metric=Metric(name, maximize[1] == "True"),
        state=FINISHED if done else INTERRUPTED,
        reason="" if done else f"{log} is not of a finished run",
        validations=tuple(
            Validation(update, int(scores.get("epoch", 0)), seconds.get(update, 0.0), scores)
            for update, scores in sorted(validations.items())
        ),
        train=tuple(
            TrainPoint(update, point.get("wall", 0.0), point["loss"])
            for update, point in sorted(curves.train.items())
            if "loss" in point
        ),
        seconds=float(done[1]) if done else max(seconds.values(), default=0.0),
        peak_memory=_peak_bytes(log.with_name(MEMORY_FILE)),
        updates=max([*validations, *curves.train], default=0),
    )


def _strategy(folder: Path, *, below: Path, task: str, lr: float) -> str:
    """The path to the runs, without what is known anyhow: the task and the rate."""
    folder, below = folder.resolve(), below.resolve()
    parts = folder.relative_to(below).parts if folder.is_relative_to(below) else ()
    left = [part for part in parts if part != task and not _is_rate(part, lr)]
    return "/".join(left) or (below.name if not parts else folder.name)


def _is_rate(name: str, lr: float) -> bool:
    found = _RATE_FOLDER.fullmatch(name)
    return found is not None and float(found[1]) == lr


def _seconds_by_update(curves: TrainingLog) -> dict[int, float]:
    """Validation -> seconds of training by then.

    fairseq counts them, as `wall`, in training records alone: a validation has those of the last
    one before it.
    """
    walls = [(update, point["wall"]) for update, point in curves.train.items() if "wall" in point]
    return {
        validated: max((wall for update, wall in walls if update <= validated), default=0.0)
        for validated in curves.valid.get("valid", {})
    }


def _peak_bytes(measured: Path) -> int | None:
    if not measured.is_file():
        return None
    text = measured.read_text(encoding="utf-8").strip()
    if not text.isdecimal():
        raise UnreadableLogError(f"{measured} should hold a number of bytes, not {text[:20]!r}")
    return int(text)
