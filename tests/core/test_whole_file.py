"""A new folder is written by one process, whole, and in the place of nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tupe_plugin.core.whole_file import whole_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out") as folder:
        (folder / "first").touch()
        with (
            pytest.raises(FileExistsError, match="out is being written by another process"),
            whole_folder(tmp_path / "out"),
        ):
            pass
        assert names(folder) == ["first"]
    assert names(tmp_path) == ["out"]


def test_what_came_meanwhile_is_kept(tmp_path: Path) -> None:
    with (
        pytest.raises(FileExistsError, match="out exists already"),
        whole_folder(tmp_path / "out"),
    ):
        (tmp_path / "out").mkdir()
    assert names(tmp_path) == ["out"]


def test_what_a_killed_run_left_is_gone(tmp_path: Path) -> None:
    (tmp_path / "out.unfinished" / "old").mkdir(parents=True)
    with whole_folder(tmp_path / "out") as folder:
        (folder / "new").touch()
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["new"]
