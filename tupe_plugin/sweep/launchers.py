"""Where the jobs of a sweep run: on this machine, or on a cluster with Slurm; both by submitit."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..data.cluster.slurm_jobs import (
    LOOKS_UNTIL_LOST,
    SECONDS_BETWEEN_LOOKS,
    queued_jobs,
    refusal_of_sbatch,
    refuse_without_slurm,
)
from ..data.libraries import MissingLibraryError
from .grid import Run
from .job import Job
from .pool import Launcher, Started
from .spec import Spec

JOBS = "jobs"
"""The folder of what submitit writes, in that of the sweep: a job's output is ID/ID_0_log.out."""
_ASKED = "[slurm]"
_AT_ONCE_ON_SLURM = 100
_A_YEAR = 365 * 24 * 60  # minutes; submitit's own limit for a local job is two


def launcher_for(spec: Spec) -> Launcher:
    """Where a sweep's file wants its jobs to run.

    Raises:
        MissingLibraryError: submitit is not installed.
        LostJobError: there is no Slurm here.
    """
    if find_spec("submitit") is None:
        raise MissingLibraryError(["submitit"], "tupe sweep", extra="sweep")
    folder = spec.folder.absolute() / JOBS / "%j"
    return (
        Local(folder, spec) if spec.slurm is None else Slurm(folder, spec.slurm, spec.folder.name)
    )


class Local:
    """Processes on this machine, each with a GPU of its own if there are any."""

    def __init__(self, folder: Path, spec: Spec) -> None:
        import submitit

        self._devices = [] if spec.options.get("cpu") else _devices()
        self.at_once = spec.jobs or max(1, len(self._devices))
        if not self._devices and "OMP_NUM_THREADS" not in os.environ:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
            threads = max(1, (cores or os.cpu_count() or 1) // self.at_once)
            os.environ["OMP_NUM_THREADS"] = str(threads)  # of the jobs: each takes all otherwise
        self._folder = folder
        self._executor = submitit.LocalExecutor(folder)
        self._executor.update_parameters(timeout_min=_A_YEAR, stderr_to_stdout=True)

    def start(self, run: Run, place: int) -> Started:
        devices = self._devices[place % len(self._devices)] if self._devices else ""
        # Ctrl-C goes to every process of a terminal: the sweep's alone is to act on it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return _LocalJob(self._executor.submit(Job(run, devices)), self._folder)
        finally:
            signal.signal(signal.SIGINT, before)


class _LocalJob:
    """A job on this machine; its number is that of the process which looks after it."""

    def __init__(self, job: Any, folder: Path) -> None:
        self._job, self._folder = job, folder

    def done(self) -> bool:
        is_over = bool(self._job.done())
        if is_over:
            with contextlib.suppress(OSError):
                self._folder.rmdir()  # "%j" itself, which submitit makes and leaves empty
        return is_over

    def cancel(self) -> None:
        """Not by submitit's `cancel`, which kills a job that takes more than a second to end."""
        if not self.done():
            os.kill(int(self._job.job_id), signal.SIGTERM)


class Slurm:
    """Jobs of a cluster."""

    def __init__(self, folder: Path, table: dict[str, Any], name: str) -> None:
        import submitit

        self.at_once = table.get("at_once", _AT_ONCE_ON_SLURM)
        parameters: dict[str, Any] = {
            "timeout_min": round(60 * table.get("hours", 24)),
            "gpus_per_node": table.get("gpus", 1) or None,
            "cpus_per_task": table.get("cpus", 2),
            "mem_gb": table.get("memory_gb"),
            "slurm_job_name": name,
            "slurm_setup": table.get("setup"),
        }
        for key in ("partition", "account", "qos", "constraint"):
            parameters[f"slurm_{key}"] = table.get(key)
        refuse_without_slurm(_ASKED)
        self._executor = submitit.AutoExecutor(folder, cluster="slurm")
        given = {key: value for key, value in parameters.items() if value is not None}
        self._executor.update_parameters(**given)

        self._queued: set[str] | None = None
        self._looked = -math.inf

    def start(self, run: Run, place: int) -> Started:
        with refusal_of_sbatch(_ASKED):
            return _SlurmJob(self._executor.submit(Job(run)), self.queued)

    def queued(self) -> tuple[set[str] | None, float]:
        """The jobs of this user, and when Slurm was asked, which it is not all the time."""
        if time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
            self._queued, self._looked = queued_jobs(), time.monotonic()
        return self._queued, self._looked


class _SlurmJob:
    """A job of a cluster; it has ended when its result is there, or when Slurm knows it no more."""

    def __init__(self, job: Any, queued: Callable[[], tuple[set[str] | None, float]]) -> None:
        self._job, self._look = job, queued
        self._without: set[float] = set()  # when it was not in the queue

    def done(self) -> bool:
        queued, when = self._look()
        if queued is not None and self._job.job_id not in queued:
            self._without.add(when)
        lost = len(self._without) >= LOOKS_UNTIL_LOST
        return lost or self._job.paths.result_pickle.exists()

    def cancel(self) -> None:
        self._job.cancel(check=False)


def _devices() -> list[str]:
    """The names of the GPUs, for CUDA_VISIBLE_DEVICES."""
    import torch

    count = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",")[:count] if given else [str(number) for number in range(count)]
