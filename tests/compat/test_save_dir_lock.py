"""One job in a folder at a time; whatever becomes of it, the next one can begin."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tupe_plugin.compat.save_dir_lock import LOCK_FILE, SaveDirInUseError, save_dir_lock

JOB = """
import os, pathlib, sys
from tupe_plugin.compat.save_dir_lock import save_dir_lock
with save_dir_lock(pathlib.Path(sys.argv[1])):
    if os.fork():  # a loader worker that outlives its job
        print("training", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_job(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", JOB, str(tmp_path / "checkpoints")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "training\n"
        yield process  # its end closes the pipe, which ends the worker


def test_the_second_job_is_refused_until_the_first_is_gone(
    other_job: subprocess.Popen[str], tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoints"
    in_use = rf"^--save-dir {folder} is in use by another job \(process {other_job.pid} on "
    with pytest.raises(SaveDirInUseError, match=in_use), save_dir_lock(folder):
        pass
    other_job.kill()
    other_job.wait()
    with save_dir_lock(folder):
        assert (folder / LOCK_FILE).read_text().startswith(f"process {os.getpid()} on ")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "function", "number"),
    [(fcntl, "lockf", errno.ENOLCK), (os, "open", errno.EROFS), (os, "write", errno.ENOSPC)],
    ids=["no locks", "read-only", "full"],
)
def test_a_file_system_without_locks_stops_no_job(
    module: object, function: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, function, fail)
    with save_dir_lock(tmp_path):
        pass
