"""A sweep's data that is only looked at, and runs that a function takes the place of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tupe_plugin.sweep.grid import Run, all_runs
from tupe_plugin.sweep.spec import spec_of


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    """Folders that look like data of CoLA and MRPC."""
    for task in ("CoLA", "MRPC"):
        data = tmp_path / "glue" / f"{task}-bin"
        (data / "input0").mkdir(parents=True)
        (data / "input0" / "dict.txt").write_text(f"{task} 1\n")
        (data / "manifest.json").write_text("{}")
    return tmp_path / "glue"


@pytest.fixture
def runs_of(glue: Path, tmp_path: Path) -> Callable[..., list[Run]]:
    """The runs of a sweep's entries; what is not given is small."""

    def make(**entries: Any) -> list[Run]:
        usual = {"tasks": ["CoLA"], "data": str(glue), "folder": str(tmp_path / "runs")}
        usual |= {"models": {"m": "none"}, "lr": [1e-3]}
        return all_runs(spec_of({**usual, **entries}, {}, "f.toml"))

    return make
