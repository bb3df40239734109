"""Whether somebody is at work on a run: a lock that ends with the process, however that ends.

Its loader workers and `tupe average` inherit it: while it is held, something of the run is alive.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

from ..core.process_lock import lock, open_locked

LOCK_FILE = ".at-work"
_PATIENCE = 10.0  # seconds for killed processes to be gone


class BusyError(RuntimeError):
    """Another process is at work on the run."""


def be_at_work(folder: Path) -> int:
    """Hold the lock of a run; the file says who does.

    Returns:
        The lock's descriptor: closed, or with the process, the lock is gone.

    Raises:
        BusyError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = open_locked(folder / LOCK_FILE)
    if file is None:
        raise BusyError(f"another process is at work in {folder}")
    os.ftruncate(file, 0)
    os.write(file, f"{os.getpgrp()} {socket.gethostname()}".encode())
    return file


def is_busy(folder: Path) -> bool:
    """Whether a process is at work on the run."""
    try:
        file = os.open(folder / LOCK_FILE, os.O_RDWR)
    except OSError:
        return False
    try:
        return not lock(file)
    finally:
        os.close(file)


def end_what_is_left(folder: Path) -> None:
    """Kill a run's processes on this machine that have survived the one that led them."""
    if not is_busy(folder):
        return
    group, _, host = (folder / LOCK_FILE).read_text().partition(" ")
    if host != socket.gethostname() or group == str(os.getpgrp()):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(int(group), signal.SIGKILL)
    last = time.monotonic() + _PATIENCE
    while is_busy(folder) and time.monotonic() < last:
        time.sleep(0.05)
