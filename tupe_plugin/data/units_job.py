"""What the jobs of both programs have alike: text becomes units, which have a dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .dictionary_file import NAME
from .step_graph import Job, Step
from .unit_options import UnitOptions, Units
from .write.foreign_dictionary import write_foreign_dictionary

UNIT_FILES = ("vocab", "bpe_codes", "gpt2_merges")
"""The user's files that say how words are cut, by the names that `files_of_units` gives them."""


class UnitsJob(Job):
    """A job whose text becomes units."""

    units: Units

    def dictionary(self) -> Path | None:
        """Written here, or given; None: there is none yet."""
        return self.folder("dict") / NAME if self.wants("dict") else self.units.dictionary


def values_of(options: UnitOptions, units: Units) -> dict[str, Any]:
    """Option -> value, with what the options come to."""
    return {**vars(options), "tokenizer": units.tokenizer, "cased": units.files.cased}


def _write_dictionary(job: UnitsJob, folder: Path) -> None:
    write_foreign_dictionary(job.units, folder / NAME)


def _makes_dictionary(job: UnitsJob) -> bool:
    return job.units.makes_dictionary


DICTIONARY_STEP = Step("dict", ("authors_dict", "vocab"), (), _write_dictionary, _makes_dictionary)
