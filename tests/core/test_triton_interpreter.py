"""Starts Triton's interpreter, in which the kernels run on a CPU; see test_triton_attention.py."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT
from tupe_plugin.core.triton_attention import triton_attention


@pytest.mark.slow
def test_the_kernels_in_tritons_interpreter() -> None:
    pytest.importorskip("triton", reason="the package triton is not installed (286 MB)")
    file = ROOT / "tests" / "core" / "test_triton_attention.py"
    # Without fairseq, which conftest.py loads, and in numpy's one thread.
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(file)],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-10_000:]
    assert " passed" in finished.stdout
    assert " skipped" not in finished.stdout


def test_a_cpu_is_refused_in_one_line() -> None:
    pytest.importorskip("triton", reason="the package triton is not installed (286 MB)")
    x = torch.zeros(1, 1, 2, 32)
    with pytest.raises(ValueError, match="needs a GPU, and the model is on cpu: choose sdpa"):
        triton_attention(x, x, x, scale=1.0)
