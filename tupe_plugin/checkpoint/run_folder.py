"""The checkpoint that a folder stands for."""

from __future__ import annotations

from pathlib import Path

OF_RUN = ("checkpoint_best.pt", "checkpoint_last.pt")
"""Of `fairseq-train`; the first that a folder has."""
OF_IMPORT = "checkpoint.pt"
"""What `tupe import` writes."""
_OF_RELEASE = "model.pt"  # of the models that fairseq has published


def checkpoint_in(folder: Path) -> Path | None:
    """The best checkpoint of a run, else its last; that of `tupe import`, or of a release.

    None: there is none, or this is no folder.
    """
    names = (*OF_RUN, OF_IMPORT, _OF_RELEASE)
    return next((folder / name for name in names if (folder / name).is_file()), None)
