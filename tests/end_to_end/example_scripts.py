"""Starting the scripts of examples/ with this environment's programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

PATIENCE = 600  # seconds until something should have happened
SEARCH_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


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
