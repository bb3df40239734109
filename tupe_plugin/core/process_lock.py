"""A lock on an open file or folder, which ends with the process, however that ends."""

from __future__ import annotations


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
