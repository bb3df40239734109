"""Jobs as an array of Slurm's, by submitit."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..libraries import MissingLibraryError
from .part_job import TRIES, LostJobError, Outcomes, PartJob

# sbatch's own variables (SBATCH_TIMELIMIT, SBATCH_PARTITION ...) go before these.
PARAMETERS = {"name": "tupe-data", "timeout_min": 240, "cpus_per_task": 1}
SECONDS_BETWEEN_LOOKS = 5.0
LOOKS_UNTIL_LOST = 4  # a result can be late on a network disk
_PROGRAMS = ("srun", "sbatch", "squeue", "scancel")  # that start, find and end jobs


def check_slurm() -> None:
    """Before any work is done.

    Raises:
        MissingLibraryError: submitit is not installed.
        LostJobError: there is no Slurm here.
    """
    try:
        import submitit  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingLibraryError(["submitit"], "--executor slurm", extra="cluster") from error
    refuse_without_slurm("--executor slurm")


def refuse_without_slurm(asked: str) -> None:
    """Look for all programs of Slurm that a job will need.

    Args:
        asked: what the user has given that wants Slurm.

    Raises:
        LostJobError: one is not there.
    """
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            raise LostJobError(
                f"{asked}: no {program} on this machine; run the command where jobs are submitted"
            )


def run_in_slurm(jobs: Sequence[PartJob], logs: Path, workers: int) -> Outcomes:
    """Run the jobs; those that are killed are handed in again.

    Args:
        jobs: what to run.
        logs: a folder for what the jobs print, on a disk that all machines share.
        workers: not used: Slurm says how many run side by side.

    Raises:
        LostJobError: a job was lost each time, or failed by itself.
    """
    import submitit

    executor = submitit.AutoExecutor(folder=logs, cluster="slurm")
    executor.update_parameters(**PARAMETERS)
    handed_in: dict[Any, PartJob] = {}
    try:
        yield from _outcomes(executor, jobs, handed_in)
    finally:
        for job in handed_in:
            job.cancel(check=False)


def _outcomes(executor: Any, jobs: Sequence[PartJob], handed_in: dict[Any, PartJob]) -> Outcomes:
    """`handed_in` holds the jobs that have not ended."""
    tries = Counter[PartJob]()
    while jobs:
        handed_in.update(zip(_submit(executor, jobs), jobs, strict=True))
        tries.update(jobs)
        jobs = []
        looks_without = Counter[Any]()
        while handed_in:
            queued = queued_jobs()
            for job in list(handed_in):
                looks_without[job] += queued is not None and job.job_id not in queued
                if job.paths.result_pickle.exists():
                    part_job = handed_in.pop(job)
                    yield part_job, _result(job, part_job)
                elif looks_without[job] == LOOKS_UNTIL_LOST:
                    part_job = handed_in.pop(job)
                    if tries[part_job] == TRIES:
                        raise _lost(job, part_job, f"it was killed {TRIES} times")
                    jobs.append(part_job)
            if handed_in:
                time.sleep(SECONDS_BETWEEN_LOOKS)


def queued_jobs() -> set[str] | None:
    """The numbers of this user's jobs that wait or run; None: Slurm does not say at the moment.

    submitit asks sacct instead, which needs a data base that not every cluster has, and only every
    ten minutes.
    """
    command = ["squeue", "--me", "--array", "--noheader", "--format=%i"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True)
    except OSError:  # a folder of the network that holds it is away
        return None
    return set(listed.stdout.split()) if listed.returncode == 0 else None


def _submit(executor: Any, jobs: Sequence[PartJob]) -> list[Any]:
    with refusal_of_sbatch("--executor slurm"), executor.batch():
        return [executor.submit(_Requeued(job)) for job in jobs]


@contextmanager
def refusal_of_sbatch(asked: str) -> Iterator[None]:
    """Where jobs are handed in; `asked` as for `refuse_without_slurm`.

    Raises:
        LostJobError: sbatch does not take them.
    """
    import submitit

    try:
        yield
    except submitit.core.utils.FailedJobError as error:
        said = str(error).strip().splitlines()[-1]
        raise LostJobError(f"{asked}: sbatch refused the jobs: {said}") from error


def _result(job: Any, part_job: PartJob) -> str:
    import submitit

    try:
        said: str = job.result()
        return said
    except submitit.core.utils.UncompletedJobError as error:
        raise _lost(job, part_job, str(error).strip().splitlines()[-1]) from error


def _lost(job: Any, part_job: PartJob, reason: str) -> LostJobError:
    return LostJobError(f"the job for '{part_job.part.name}': {reason}; see {job.paths.stderr}")


class _Requeued:
    """A job that begins again where Slurm stops it for another, or as its time is up."""

    def __init__(self, job: PartJob) -> None:
        self._job = job

    def __call__(self) -> str:
        return self._job()

    def checkpoint(self) -> Any:
        import submitit

        return submitit.helpers.DelayedSubmission(self)
