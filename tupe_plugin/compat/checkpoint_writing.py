"""A job that is killed while it writes checkpoints must leave every one of them whole."""

from __future__ import annotations

import os
from typing import Any


def copy_checkpoints_whole(file_io: Any) -> None:
    """A killed job leaves half a `checkpoint_last.pt`, and can no longer be resumed.

    Where: fairseq/file_io.py:68. fairseq writes the first file of a save under another name and
    renames it, but `checkpoint_last.pt` and `checkpoint_best.pt` are then copied from it in place.
    When: `kill -9`, a lost machine or a full disk during that copy.
    Cure: the copy has another name, too, until it is complete.
    Upstream: https://github.com/facebookresearch/fairseq/issues/2684
    """
    path_manager = file_io.PathManager
    original = path_manager.copy

    def copy(src_path: str, dst_path: str, overwrite: bool = False) -> Any:
        if not overwrite or not path_manager.supports_rename(dst_path):
            return original(src_path, dst_path, overwrite)
        incomplete = f"{dst_path}.tmp"
        result = original(src_path, incomplete, True)
        os.replace(incomplete, dst_path)
        return result

    path_manager.copy = staticmethod(copy)
