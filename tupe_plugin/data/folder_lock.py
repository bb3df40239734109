"""One program at a time that writes into a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.process_lock import open_locked


class FolderInUseError(ValueError):
    """Another run is at work there."""


@contextmanager
def folder_lock(path: Path) -> Iterator[None]:
    """Hold a lock on a file, which ends with the process, however that ends.

    Raises:
        FolderInUseError: another process holds it.
        OSError: the file cannot be written.
    """
    file = open_locked(path)
    if file is None:
        raise FolderInUseError(f"another run is at work in {path.parent}")
    try:
        yield
    finally:
        os.close(file)
