"""Starting the scripts of examples/ with this environment's programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 600  # seconds until something should have happened
SEARCH_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def wait_for(condition: Callable[[], bool], *, of: subprocess.Popen[str] | None = None) -> None:
    """Until it holds; fails where the process that shall bring it about has ended, or too late."""
    last = time.monotonic() + PATIENCE
    while not condition():
        if of is not None and of.poll() is not None:
            raise AssertionError(" ".join(part or "" for part in of.communicate())[-3000:])
        assert time.monotonic() < last, "it did not happen"
        time.sleep(0.05)


def start_script(
    *command: object, stderr: int = subprocess.PIPE, **env: str
) -> subprocess.Popen[str]:
    """A script that can be interrupted; `env` adds to the environment."""
    return subprocess.Popen(
        [str(word) for word in command],
        env={**os.environ, "PATH": SEARCH_PATH, "OMP_NUM_THREADS": "1", **env},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        # The tests may run in the background, where a shell has Ctrl-C ignored, and bash cannot
        # take back what it was born with.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def run_script(*command: object, **env: str) -> subprocess.CompletedProcess[str]:
    """The script when it has ended, well or not."""
    with start_script(*command, **env) as script:
        try:
            output, errors = script.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            script.kill()
            raise
    return subprocess.CompletedProcess(script.args, script.returncode, output, errors)
