"""One job in a --save-dir at a time."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .refused_job import RefusedJobError
from .training_program import is_of_training

LOCK_FILE = ".in-use"


class SaveDirInUseError(RefusedJobError):
    """Another job writes its checkpoints there."""


def keep_second_jobs_out(distributed_utils: Any) -> None:
    """No message: two jobs write and delete each other's checkpoints.

    Where: fairseq/distributed/utils.py:334 starts a job's workers; nothing looks for another job.
    When: two jobs have one `--save-dir`: a command typed twice, a sweep without its number.
    Fix: the worker that writes checkpoints holds a lock on a file there while it trains.
    """
    original = distributed_utils.call_main

    @functools.wraps(original)
    def call_main(cfg: Any, main: Any, **named: Any) -> Any:
        if not is_of_training(main) or cfg.checkpoint.no_save:
            return original(cfg, main, **named)
        is_writer = distributed_utils.is_master
        return original(cfg, functools.partial(_main_with_lock, main, is_writer), **named)

    distributed_utils.call_main = call_main


def name_an_unusable_save_dir(checkpoint_utils: Any) -> None:
    """`FileExistsError: [Errno 17] File exists`, `NotADirectoryError`, below a traceback.

    Where: fairseq/checkpoint_utils.py:841, which tries to write a file there.
    When: `--save-dir` is a file, lies below one, or cannot be written to.
    Fix: one line names the option.
    """
    original = checkpoint_utils.verify_checkpoint_directory

    @functools.wraps(original)
    def verify_checkpoint_directory(save_dir: str) -> None:
        try:
            original(save_dir)
        except OSError as error:
            raise RefusedJobError(
                f"--save-dir {save_dir} cannot be written to ({error.strerror or error}): name "
                "another folder"
            ) from error

    checkpoint_utils.verify_checkpoint_directory = verify_checkpoint_directory


def _main_with_lock(main: Any, is_writer: Any, cfg: Any, **named: Any) -> Any:
    """Of the module, and not of the call above, so that fairseq can send it to its workers."""
    if not is_writer(cfg.distributed_training):
        return main(cfg, **named)
    with save_dir_lock(Path(cfg.checkpoint.save_dir)):
        return main(cfg, **named)


@contextlib.contextmanager
def save_dir_lock(folder: Path) -> Iterator[None]:
    """Hold the lock, which ends with the process, however that ends.

    A record lock (`fcntl.lockf`): loader workers do not inherit it, and NFS knows it. Where there
    are no locks, or no file can be written, there is none, and nothing stops.

    Raises:
        SaveDirInUseError: another process holds it; the message says which.
    """
    path = folder / LOCK_FILE
    file = _locked(path)
    try:
        yield
    finally:
        if file is not None:
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(file)


def _locked(path: Path) -> int | None:
    """Descriptor of the locked file; None: locks do not work here."""
    try:
        import fcntl
    except ImportError:  # not a Unix
        return None
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:  # read-only ...; fairseq itself says so if it matters
            return None
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), os.stat(path)):
                os.ftruncate(file, 0)
                os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return file
        except FileNotFoundError:
            pass  # removed by the job that has just ended, as is one that is another by now
        except (BlockingIOError, PermissionError) as error:
            holder = os.read(file, 1000).decode(errors="replace")
            os.close(file)
            raise SaveDirInUseError(
                f"--save-dir {path.parent} is in use by another job ({holder}), which would lose "
                f"its checkpoints to this one: name another folder, or end that job (if it is "
                f"gone with its machine, remove {path})"
            ) from error
        except OSError:
            os.close(file)
            return None
        os.close(file)
