"""A copy of a checkpoint that is interrupted leaves the previous one whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from fairseq import file_io
from fairseq.file_io import PathManager


def test_an_interrupted_copy_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, last = tmp_path / "new.pt", tmp_path / "checkpoint_last.pt"
    new.write_text("new checkpoint")
    last.write_text("old checkpoint")

    def copy_half(source: str, target: str) -> None:
        Path(target).write_text("new ")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(file_io.shutil, "copyfile", copy_half)
        with pytest.raises(OSError, match="No space left"):
            PathManager.copy(str(new), str(last), overwrite=True)
    assert last.read_text() == "old checkpoint"

    assert PathManager.copy(str(new), str(last), overwrite=True)
    assert last.read_text() == "new checkpoint"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_last.pt", "new.pt"]
