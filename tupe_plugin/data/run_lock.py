"""One run in a folder at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderInUseError(ValueError):
    """Another run is at work there."""


@contextmanager
def run_lock(path: Path) -> Iterator[None]:
    """Hold a lock on a file, which ends with the process, however that ends.

    Where the system has no locks there is none, and nothing stops.

    Raises:
        FolderInUseError: another process holds it.
        OSError: the file cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # not a Unix
        yield
        return
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderInUseError(f"another run is at work in {path.parent}") from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(file)
