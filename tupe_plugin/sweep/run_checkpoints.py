"""The checkpoints of a run: which go when it is done, and where those stay that it had before.

A sweep removes nothing but what its own runs have written, and asks what to keep of it once: when
such a run is done, and all averages of its epochs. Until then the run's folder is marked, so that
the next sweep knows what one that was stopped has left.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from .run_record import RUN_FILE

KEEP: dict[str, tuple[str, ...]] = {
    "none": (),
    "best": ("checkpoint_best.pt", "average.pt"),
    "all": ("*",),
}
"""What can be asked for -> the names that stay."""

_UNTIDIED = ".untidied"
_BEFORE = "before"
_FORMER_RUN_FILE = "run.before.json"  # no report counts it


def mark_untidied(folder: Path) -> None:
    """A run begins whose checkpoints are a sweep's own, unless there are some already."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob("*.pt")):  # as where a command of --dry-run was pasted
        (folder / _UNTIDIED).touch()


def tidy(folder: Path, keep: str) -> None:
    """Remove what nobody has asked for; all stays of a run that no sweep has still to tidy."""
    if not (folder / _UNTIDIED).exists():
        return
    for path in folder.glob("*.pt"):
        if not any(map(path.match, KEEP[keep])):
            path.unlink()
    (folder / _UNTIDIED).unlink()


def set_aside(folder: Path) -> None:
    """Make room for another training of a run that is done, in a folder below it.

    So it begins anew, and its checkpoints and record take the place of no others.
    """
    names = itertools.chain([_BEFORE], (f"{_BEFORE}{number}" for number in itertools.count(2)))
    place = next(path for path in map(folder.joinpath, names) if not path.exists())
    place.mkdir()
    for path in folder.glob("*.pt"):
        path.replace(place / path.name)
    (folder / RUN_FILE).replace(place / _FORMER_RUN_FILE)
