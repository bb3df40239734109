"""`--executor`: which engine cleans the parts of a corpus."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..corpus_options import CorpusOptions
from ..corpus_steps import CorpusJob
from ..parts import parts_of
from ..read.read_sources import find_sources
from ..step_graph import StepError
from .part_job import Outcomes, PartJob
from .ray_tasks import check_ray, run_in_ray
from .slurm_jobs import check_slurm, run_in_slurm


class Engine(NamedTuple):
    """What runs jobs; see `run_in_slurm`."""

    check: Callable[[], None]
    run: Callable[[Sequence[PartJob], Path, int], Outcomes]


ENGINES = {"slurm": Engine(check_slurm, run_in_slurm), "ray": Engine(check_ray, run_in_ray)}


def check_executor(name: str) -> None:
    """Before any work is done.

    Raises:
        MissingLibraryError: the engine's library is not installed.
        LostJobError: the engine is not there.
    """
    if name in ENGINES:
        ENGINES[name].check()


def clean_in_parts(job: CorpusJob, options: CorpusOptions, output: Path) -> list[list[Path]]:
    """Have the parts cleaned that are not whole; returns their folders, by groups.

    Raises:
        StepError: a part cannot be cleaned.
        LostJobError: a job was killed each time, or cannot be run at all.
    """
    groups = parts_of(find_sources(job.files["sources"], on_note=_note), number=options.parts)
    parts = [part for group in groups for part in group]
    for part in parts:
        job.add_part(part)
    left = [part for part in parts if not job.is_whole(part.name)]
    _note(f"== clean: {len(parts)} parts, {len(parts) - len(left)} of them done before")
    on_a_core = replace(options, workers=1)
    jobs = [PartJob(on_a_core, output, part, Path.cwd()) for part in left]
    if jobs:
        run = ENGINES[options.executor].run
        with closing(run(jobs, job.work / "logs", options.workers)) as outcomes:
            for ended, (part_job, said) in enumerate(outcomes, start=1):
                if said:
                    raise StepError(said)
                _note(f"   {part_job.part.name}: done, {ended} of {len(jobs)}")
    for part in left:
        if not job.is_whole(part.name):
            raise StepError(
                f"{job.folder(part.name)} was made from other inputs or versions than there are "
                "here: do all machines have the same disk and environment?"
            )
    return [[job.folder(part.name) for part in group] for group in groups]


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")
