"""A lock on an open file or folder, which ends with the process, however that ends."""

from __future__ import annotations

import os
from pathlib import Path


def open_locked(path: Path) -> int | None:
    """Descriptor of a file, made if it is not there, with its lock; None if another holds that.

    To close the descriptor releases the lock.

    Raises:
        OSError: the file cannot be written.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    if lock(file):
        return file
    os.close(file)
    return None


def lock(descriptor: int) -> bool:
    """Take it; False if another process, or another descriptor of this one, holds it.

    Where the system or the file system has no locks there is none, and nothing stops.
    """
    try:
        import fcntl
    except ImportError:  # not a Unix
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True
