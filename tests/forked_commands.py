"""Console commands in processes forked from one that has already imported torch and fairseq.

Starting up takes a `fairseq-train` three seconds of processor time, which is most of what a small
job takes, and the tests start it some two hundred times. The server process is a fresh Python; it
imports what the commands import before they look at their arguments, and nothing of tupe_plugin
but what its start-up hook does, so that `--user-dir` still has to find and register the package.
"""

from __future__ import annotations

import atexit
import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ENTRY_POINTS = {
    "fairseq-train": ("fairseq_cli.train", "cli_main"),
    "fairseq-validate": ("fairseq_cli.validate", "cli_main"),
    "fairseq-preprocess": ("fairseq_cli.preprocess", "cli_main"),
    "fairseq-hydra-train": ("fairseq_cli.hydra_train", "cli_main"),
    "tupe": ("tupe_plugin.commands", "main"),
}
PRELOADED = (
    *(module for module, _ in ENTRY_POINTS.values() if module.startswith("fairseq_cli.")),
    *("sklearn.metrics", "scipy.stats", "tensorboardX"),
)

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(list(PRELOADED))


def run_forked(
    command: str,
    arguments: Sequence[str],
    *,
    cwd: Path | None,
    environment: Mapping[str, str],
    timeout: float,
) -> subprocess.CompletedProcess[str]:
    """Run one of `ENTRY_POINTS`; `stdout` of the result holds both streams.

    Raises:
        subprocess.TimeoutExpired: it was killed after ``timeout`` seconds.
    """
    line = [command, *arguments]
    with tempfile.TemporaryFile() as output:
        process = _server.Process(
            target=_child,
            args=(line, str(cwd or Path.cwd()), dict(environment), _Inherited(output)),
        )
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(line, timeout)
        output.seek(0)
        text = output.read().decode("utf-8").replace("\r\n", "\n")
    assert process.exitcode is not None
    return subprocess.CompletedProcess(line, process.exitcode, text)


class _Inherited:
    """An open file on its way into the child."""

    def __init__(self, file: object) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        from multiprocessing.reduction import DupFd

        return _Descriptor, (DupFd(self.file.fileno()),)  # type: ignore[attr-defined]


class _Descriptor:
    def __init__(self, duplicate: object) -> None:
        self.number: int = duplicate.detach()  # type: ignore[attr-defined]


def _child(line: list[str], cwd: str, environment: dict[str, str], output: _Descriptor) -> None:
    os.dup2(output.number, 1)
    os.dup2(output.number, 2)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = line
    multiprocessing.set_start_method(None, force=True)  # the default: a child inherits its server's
    module, function = ENTRY_POINTS[line[0]]
    try:
        sys.exit(getattr(importlib.import_module(module), function)())
    finally:
        # multiprocessing ends its processes without these; a command of its own has them.
        sys.stdout.flush()
        atexit._run_exitfuncs()
