"""Jobs as tasks of Ray: on the cluster that it finds, or on the cores of this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..libraries import MissingLibraryError
from ..worker_pool import all_cores
from .part_job import TRIES, LostJobError, Outcomes, PartJob


def check_ray() -> None:
    """Before any work is done.

    Raises:
        MissingLibraryError: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingLibraryError(["ray"], "--executor ray", extra="cluster") from error


def run_in_ray(jobs: Sequence[PartJob], logs: Path, workers: int) -> Outcomes:
    """Run the jobs; those whose process or machine is lost begin again.

    Args:
        jobs: what to run.
        logs: not used: Ray has a place for its own.
        workers: processes, where no cluster is found (0: all cores).

    Raises:
        LostJobError: a job was lost each time.
    """
    import ray

    with _connected(workers):
        task = ray.remote(num_cpus=1, max_retries=TRIES - 1)(_run)
        running = {task.remote(job): job for job in jobs}
        while running:
            (ended,), _ = ray.wait(list(running), num_returns=1)
            job = running.pop(ended)
            try:
                yield job, ray.get(ended)
            except ray.exceptions.RayError as error:
                last = str(error).strip().splitlines()[-1]
                raise LostJobError(f"the job for '{job.part.name}' was lost: {last}") from error


def _run(job: PartJob) -> str:
    return job()


@contextmanager
def _connected(workers: int) -> Iterator[None]:
    import ray

    options = {"logging_level": "error", "log_to_driver": False}
    stop = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address="auto", **options)
    except ConnectionError:
        cores = workers or all_cores()
        ray.init(address="local", num_cpus=cores, include_dashboard=False, **options)
    finally:
        signal.signal(signal.SIGTERM, stop)  # Ray's own would not say how to go on
    try:
        yield
    finally:
        ray.shutdown()
