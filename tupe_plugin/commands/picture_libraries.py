"""What pictures and pages are made with: the extra `[plot]` of this package."""

from __future__ import annotations

import importlib.util
import logging


class MissingPictureLibraryError(ValueError):
    """A library is not installed; the message says what needs it and how to get it."""


def check_picture_libraries(needed_by: str, *names: str) -> None:
    """Before any work is done.

    Args:
        needed_by: the command or option that needs them.
        names: of the libraries, matplotlib among them.

    Raises:
        MissingPictureLibraryError: one is not installed.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPictureLibraryError(
            f"{needed_by} needs {' and '.join(missing)}: pip install 'tupe-plugin[plot]'"
        )
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # fairseq turns INFO on for all
