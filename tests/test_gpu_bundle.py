"""`make gpu-bundle`, and an environment that is made from its folder without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, RunCommand

SCRIPT = ROOT / "scripts" / "gpu_bundle.sh"
FAKE_UV = "#!/bin/sh\nexit 0\n"
FAKE_PIP = """#!/usr/bin/env bash
[[ $3 == download ]] || exit 0
while [[ $1 != --dest ]]; do shift; done
truncate -s "$SIZE" "$2/large-1-$TAG.whl"
"""


@pytest.mark.parametrize(
    ("size", "tag", "complaint"),
    [
        (59_000_000, "py3-none-any", None),
        (61_000_000, "py3-none-any", "is 61 MB and should be under 60"),
        (1_000, "cp312-cp312-linux_x86_64", "no use on another machine"),
    ],
)
def test_what_cannot_be_used_is_said(
    tmp_path: Path, size: int, tag: str, complaint: str | None
) -> None:
    for name, text in (("uv", FAKE_UV), ("python", FAKE_PIP)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", SCRIPT, tmp_path / "bundle", "3.12", "fairseq==0.12.2"],
        env={
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SIZE": str(size),
            "TAG": tag,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (complaint is not None)
    (line,) = (done.stdout + done.stderr).splitlines()
    assert f"large-1-{tag}.whl" in line if complaint else "1 wheels for Python 3.12, 59 MB" in line
    assert (complaint or "") in line


@pytest.mark.slow
def test_an_environment_without_a_network(tmp_path: Path, run_command: RunCommand) -> None:
    """PYTHON is in an environment itself, as on machines whose torch is; its packages are seen."""
    bundle, environment = tmp_path / "bundle", tmp_path / "environment"
    bundle.mkdir()
    job = [
        "make",
        "--no-print-directory",
        "install",
        f"WHEELS={bundle}",
        f"VENV={environment}",
        f"PYTHON={sys.executable}",
    ]
    empty = run_command(*job, cwd=ROOT, check=False).stdout.splitlines()
    assert empty[0] == (
        f"make: WHEELS={bundle} has no wheels: fill it with make gpu-bundle where there is a "
        "network, and bring it here"
    )
    assert not environment.exists()

    package = tmp_path / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "carried"\nversion = "1"\n'
        '[tool.hatch.build.targets.wheel]\ninclude = ["carried.py"]\n'
    )
    (package / "carried.py").touch()
    run_command("python", "-m", "hatchling", "build", "-t", "wheel", "-d", bundle, cwd=package)
    run_command(*job, cwd=ROOT)
    code = "import carried, fairseq, torch; print(carried.__file__)"
    imported = run_command(environment / "bin" / "python", "-c", code, cwd=tmp_path)
    assert Path(imported.stdout.strip()).is_relative_to(environment)
    assert (environment / "bin" / "tupe").exists()
