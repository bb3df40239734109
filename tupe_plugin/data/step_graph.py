"""Steps that make folders out of each other: what is whole is kept, what is not is made again.

A step makes one folder. It works in FOLDER.part, which is renamed when the step is complete, so
that a folder which exists is whole. FOLDER/stamp.txt says what the folder was made from: the
options that matter to the step, the contents of the files that it reads, the stamps of the steps
before it, this code and the versions of the libraries. A rerun leaves out the steps whose stamp is
still right.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .input_files import content_of, sha256_of
from .libraries import NEEDED, versions_of
from .worker_pool import WorkerKilledError

STAMP = "stamp.txt"
_CODE = (".py", ".toml", ".txt")


class StepError(ValueError):
    """A step that cannot be done, or that failed; the message names it."""


@dataclass(frozen=True)
class Step:
    """One folder and how it is made.

    Args:
        name: of the folder.
        inputs: names of the steps before it and of the user's files that it reads, where they are.
        options: names of the options that its content depends on.
        make: writes the content into the folder that it is given.
        is_wanted: whether a job has the step.
    """

    name: str
    inputs: tuple[str, ...]
    options: tuple[str, ...]
    make: Callable[[Any, Path], object]
    is_wanted: Callable[[Any], bool] = lambda job: True


class Job:
    """The steps of one command, and where their folders are.

    Args:
        options: the values of the options by name.
        steps: in an order in which they can be made.
        files: the user's files by the names that `Step.inputs` has.
        work: where the folders are made.
        result: the folder of the last step.
    """

    def __init__(
        self,
        *,
        options: Mapping[str, object],
        steps: Sequence[Step],
        files: Mapping[str, Sequence[Path]],
        work: Path,
        result: Path,
    ) -> None:
        self.options = options
        self.files = dict(files)
        self.work = work
        self.result = result
        self.steps = {step.name: step for step in steps}
        self._order = list(self.steps)
        self._made_elsewhere: dict[str, list[list[Path]]] = {}

    def wants(self, name: str) -> bool:
        """Whether the step is one of this job's."""
        return name in self.steps and self.steps[name].is_wanted(self)

    def folder(self, name: str) -> Path:
        """The folder of a step."""
        return self.result if name == self._order[-1] else self.work / name

    def folders(self, name: str) -> list[list[Path]]:
        """The same, or those in which the step was made in parts, by groups."""
        return self._made_elsewhere.get(name) or [[self.folder(name)]]

    def stamp(self, name: str) -> str:
        """What the step's folder is made from."""
        step = self.steps[name]
        return _json(
            {
                "step": name,
                "options": {option: self.options[option] for option in step.options},
                "files": {
                    given: [[place, digest] for place, digest in map(content_of, self.files[given])]
                    for given in step.inputs
                    if given in self.files
                },
                "steps": {
                    before: hashlib.sha256(self.stamp(before).encode()).hexdigest()
                    for before in step.inputs
                    if self.wants(before)
                },
                "code": _code(),
                "versions": versions_of((*NEEDED, "fairseq")),
            }
        )

    def is_whole(self, name: str) -> bool:
        """Whether the step was done, from what it would be done from now."""
        path = self.folder(name) / STAMP
        return path.is_file() and path.read_text(encoding="utf-8") == self.stamp(name)

    def take(self, name: str, groups: Sequence[Sequence[Path]]) -> None:
        """Leave out a step that was done in parts; what follows does not depend on their number."""
        self._made_elsewhere[name] = [list(parts) for parts in groups]

    def add(self, step: Step) -> None:
        """A step that `run` does not do by itself."""
        self.steps[step.name] = step

    def run(self) -> None:
        """Do every step that is wanted and not whole, in order.

        Raises:
            StepError: one cannot be done, or failed.
        """
        for name in self._order:
            if self.wants(name) and name not in self._made_elsewhere:
                self.do(name)

    def do(self, name: str) -> None:
        """Do one step, unless it is whole.

        Raises:
            StepError: it cannot be done, or failed.
        """
        step, folder = self.steps[name], self.folder(name)
        if self.is_whole(step.name):
            sys.stderr.write(f"== {folder.name}: done before\n")
            return
        if folder.exists() and not (folder / STAMP).is_file():
            raise StepError(
                f"{folder} exists and was not made here; remove it or choose another folder"
            )
        sys.stderr.write(f"== {folder.name}\n")
        part = folder.with_name(f"{folder.name}.part")
        with _named(folder.name):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            step.make(self, part)
            (part / STAMP).write_text(self.stamp(step.name), encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            part.rename(folder)


@contextmanager
def _named(step: str) -> Iterator[None]:
    try:
        yield
    except WorkerKilledError as error:
        raise StepError(
            f"the step '{step}' failed: a worker process was killed; out of memory? run the same "
            "command again to go on, perhaps with --workers 1"
        ) from error
    except (ValueError, OSError) as error:
        raise StepError(f"the step '{step}' failed: {error}") from error


@cache
def _code() -> str:
    """A digest of the programs that make data."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in _CODE:
            digest.update(f"{path.relative_to(folder).as_posix()} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _json(content: object) -> str:
    return json.dumps(content, indent=1, sort_keys=True, default=str) + "\n"
