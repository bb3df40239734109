"""What a run's record says of the machine and the versions."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

import pytest
import torch

from tupe_plugin.sweep import surroundings


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch):
    """The recorded version of a package in that folder."""

    def of(folder: Path) -> str:
        monkeypatch.setattr(surroundings, "PACKAGE", folder)
        surroundings.versions.cache_clear()
        return surroundings.versions()["tupe_plugin"]

    yield of
    surroundings.versions.cache_clear()


def test_only_a_checkout_of_the_package_gives_its_commit(tmp_path, monkeypatch, version) -> None:
    own, installed = tmp_path / "own", tmp_path / "installed"
    for folder in (own, installed):
        folder.mkdir()
        (folder / "__init__.py").touch()
    identity = ("-c", "user.name=n", "-c", "user.email=e")
    for words in (("init", "-q"), ("add", "own"), (*identity, "commit", "-qm", "theirs")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    assert len(version(own)) == 12
    (own / "__init__.py").write_text("changed")
    assert version(own).endswith("-dirty")
    assert version(installed) == metadata.version("tupe-plugin")
    monkeypatch.setenv("PATH", "")
    assert version(own) == metadata.version("tupe-plugin")


@pytest.mark.parametrize(("threads", "words"), [(1, "1 thread"), (2, "2 threads")])
def test_hardware_is_in_the_right_number(monkeypatch, threads: int, words: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert surroundings.hardware().endswith(f", {words}")
