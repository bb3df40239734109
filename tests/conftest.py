"""Fixtures for all tests: the authors' checkpoint, a GPU, and fairseq's command lines."""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

import tupe_plugin
from tests.forked_commands import ENTRY_POINTS, run_forked
from tests.reference_files import read

tupe_plugin.use_with_fairseq()  # where the start-up hook is not installed
gc.disable()  # until the tests are collected: of that nothing is garbage

ROOT = Path(__file__).resolve().parent.parent
REFERENCE_DATA = ROOT / "tests" / "data"  # figures of the authors' code: see its README.md
LAST_LINES = 60  # of a failed command's output


def pytest_collection_finish() -> None:
    """All modules and tests stay, so the garbage collector need not walk over them each time."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def legacy_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as the TUPE authors saved theirs: a pickled Namespace, torch's old file form."""
    data = read(REFERENCE_DATA / "legacy_checkpoint.safetensors")
    data["args"] = argparse.Namespace(**data["args"])
    path = tmp_path_factory.mktemp("authors") / "legacy_checkpoint.pt"
    torch.save(data, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture(autouse=True)
def _skip_without_gpu(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")


RunCommand = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run_command() -> RunCommand:
    """Run a command of this environment (`fairseq-train`, `tupe`, `python`, `torchrun` ...).

    `run_command("fairseq-train", "bin", "--max-update", 3, cwd=tmp_path)` returns the finished
    process; `.stdout` holds both streams. Arguments may be of any type. A failing exit status fails
    the test and shows the end of the output, unless `check=False`. `env` adds to the environment.
    One thread for torch; no GPU, unless `gpu=True`. fairseq's own commands are forked from a
    process that has imported them (`forked_commands.py`), unless `env` or `gpu` is given.
    """

    def run(
        command: str,
        *arguments: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        gpu: bool = False,
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).parent / command
        line = [str(program if program.exists() else command), *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
        if not gpu:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        if command in ENTRY_POINTS and not gpu and not env:
            finished = run_forked(
                command, line[1:], cwd=cwd, environment=environment, timeout=timeout
            )
        else:
            finished = subprocess.run(
                line,
                cwd=cwd,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout,
                check=False,
            )
        if check and finished.returncode != 0:
            tail = "\n".join(finished.stdout.splitlines()[-LAST_LINES:])
            pytest.fail(f"exit status {finished.returncode} from {' '.join(line)}\n{tail}")
        return finished

    return run
