"""All runs below some folders, whichever way they were recorded, and what cannot be counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .fairseq_log import UnreadableLogError
from .old_runs import LOG_FILE, read_old_run
from .run_record import RUN_FILE, RunRecord, UnreadableRunError


class MissingRunsError(ValueError):
    """A path is no folder of runs; the message says which."""


@dataclass
class FoundRuns:
    """Runs by their folder, in order, and a line about each that is left out."""

    runs: dict[Path, RunRecord] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def find_runs(folders: Iterable[Path]) -> FoundRuns:
    """Read each run once: a file that cannot be read, and one that is there twice, is named.

    Raises:
        MissingRunsError: one is no folder, or holds no run; or none can be read.
    """
    found = FoundRuns()
    first: dict[tuple[object, ...], Path] = {}
    for folder in folders:
        for path in _files_of(folder):
            place = path.parent.resolve()
            if place in found.runs:
                continue
            try:
                run = (
                    RunRecord.read(path)
                    if path.name == RUN_FILE
                    else read_old_run(path, below=folder)
                )
            except (UnreadableRunError, UnreadableLogError, OSError) as error:
                found.left_out.append(f"{error}: left out")
                continue
            known = first.setdefault(_identity(run), path)
            if known is not path:
                found.left_out.append(
                    f"{path} has seed {run.seed} and {run.metric.name}, as {known} has: left out; "
                    "give runs with other settings a strategy or a folder of their own"
                )
                continue
            found.runs[place] = run
    if not found.runs:
        more = f" (and {len(found.left_out) - 1} more)" * (len(found.left_out) > 1)
        raise MissingRunsError(f"no run can be read{more}: {found.left_out[0]}")
    return found


def _files_of(folder: Path) -> list[Path]:
    """Of each folder that holds a run the newer kind of file.

    Raises:
        MissingRunsError: see `find_runs`.
    """
    if folder.is_file():
        raise MissingRunsError(
            f"{folder} is a file: give a folder of runs, such as {folder.parent}"
        )
    if not folder.is_dir():
        raise MissingRunsError(f"no such folder: {folder}")
    by_place = {path.parent: path for path in folder.rglob(LOG_FILE)}
    by_place |= {path.parent: path for path in folder.rglob(RUN_FILE)}
    if not by_place:
        raise MissingRunsError(
            f"no {RUN_FILE} under {folder}, and no {LOG_FILE} of older runs: `tupe sweep` makes "
            f"the former, fairseq-train --log-format json --log-file RUN/{LOG_FILE} the latter"
        )
    return [path for _, path in sorted(by_place.items())]


def _identity(run: RunRecord) -> tuple[object, ...]:
    """What two runs that would count as two seeds of an arm must not have in common."""
    return (
        *(run.task, run.model, run.strategy, run.lr, run.seed, run.metric.name),
        tuple(sorted((name, str(value)) for name, value in run.setting.items())),
    )
