"""A checkpoint that cannot be written leaves the previous one whole, and nothing of itself."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
import torch
from fairseq import checkpoint_utils, file_io
from fairseq.file_io import PathManager

from tupe_plugin.checkpoint.write import write_checkpoint


def test_an_interrupted_copy_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, last = tmp_path / "new.pt", tmp_path / "checkpoint_last.pt"
    new.write_text("new checkpoint")
    last.write_text("old checkpoint")

    def copy_half(source: str, target: str) -> None:
        Path(target).write_text("new ")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(file_io.shutil, "copyfile", copy_half)
        with pytest.raises(OSError, match=r"^checkpoint .*last\.pt was not written: No space left"):
            PathManager.copy(str(new), str(last), overwrite=True)
    assert last.read_text() == "old checkpoint"
    assert not last.with_name("checkpoint_last.pt.tmp").exists()

    assert PathManager.copy(str(new), str(last), overwrite=True)
    assert last.read_text() == "new checkpoint"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_last.pt", "new.pt"]


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """A pipe stands for devices too."""
    pipe, folder, link = (tmp_path / name for name in ("pipe", "folder", "link"))
    new = tmp_path / "new.pt"
    new.write_text("new checkpoint")
    os.mkfifo(pipe)
    folder.mkdir()
    link.symlink_to(pipe)
    writers: list[Callable[[Path], object]] = [
        lambda path: PathManager.copy(str(new), str(path), overwrite=True),
        lambda path: checkpoint_utils.torch_persistent_save({}, str(path)),
        lambda path: write_checkpoint(path, {}),
    ]
    for write in writers:
        for path in (pipe, folder, link):
            with pytest.raises(OSError, match=f"{path} is there and is no file"):
                write(path)
    assert pipe.is_fifo()
    assert folder.is_dir()
    assert link.is_symlink()
    assert len([*tmp_path.iterdir()]) == 4


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on the size of files stands for it: the operating system refuses the write."""
    last = tmp_path / "checkpoint_last.pt"
    state = {"model": {"weight": torch.zeros(100_000)}}
    checkpoint_utils.torch_persistent_save(state, str(last))
    before = last.read_bytes()
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(
            OSError, match=r"^checkpoint .*last\.pt was not written: File too large"
        ):
            checkpoint_utils.torch_persistent_save(state, str(last))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert last.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_last.pt"]


def test_a_write_that_fails_once_is_tried_again_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, original = [], torch.save

    def save(state: object, file: BinaryIO) -> None:
        if not failed:
            failed.append(file.write(b"half a checkpoint"))
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        original(state, file)

    monkeypatch.setattr(checkpoint_utils.torch, "save", save)
    path = tmp_path / "checkpoint_last.pt"
    checkpoint_utils.torch_persistent_save({"updates": 3}, str(path))
    assert path.read_bytes().startswith(b"PK")
    assert torch.load(path, weights_only=True) == {"updates": 3}
