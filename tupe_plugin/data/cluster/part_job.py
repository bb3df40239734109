"""One job of an engine: a part of a corpus is cleaned, on whatever machine it runs."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from ..corpus_options import CorpusOptions
from ..corpus_steps import CorpusJob
from ..folder_lock import folder_lock
from ..parts import Part
from ..worker_pool import WorkerPool

TRIES = 4  # of a job that is killed, before that is said


@dataclass(frozen=True)
class PartJob:
    """Cleans the part into its folder, on one core; called where that is to happen.

    Args:
        options: of the corpus.
        output: OUT_DIR.
        part: what to clean.
        place: the folder that paths are meant from, on a disk that all machines share.
    """

    options: CorpusOptions
    output: Path
    part: Part
    place: Path

    def __call__(self) -> str:
        """What stopped it, as another try would be; empty: the part is done."""
        os.chdir(self.place)
        with WorkerPool(1) as pool:
            job = CorpusJob(self.options, self.part.files, self.output, pool)
            job.add_part(self.part)
            try:
                with folder_lock(self.output / f".lock-{self.part.name}"):
                    job.do(self.part.name)
            except (ValueError, OSError) as error:
                return str(error)
        return ""


Outcomes = Generator[tuple[PartJob, str], None, None]
"""Each job and what it returned, as they end."""


class LostJobError(ValueError):
    """A job was killed each time, or cannot be run at all; the message says where to look."""
