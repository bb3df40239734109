"""Whatever happens while checkpoints are written, every one of them is whole."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

from .checkpoint_package import core_module


class CheckpointNotWrittenError(OSError):
    """A checkpoint could not be written, on a full disk for instance."""


def copy_checkpoints_whole(file_io: Any) -> None:
    """A killed job leaves half a `checkpoint_last.pt`, and can no longer be resumed.

    Where: fairseq/file_io.py:68. fairseq writes the first file of a save under another name and
    renames it, but `checkpoint_last.pt` and `checkpoint_best.pt` are then copied from it in place.
    When: `kill -9`, a lost machine or a full disk during that copy.
    Fix: the copy has another name, too, until it is complete.
    Upstream: https://github.com/facebookresearch/fairseq/issues/2684
    """
    path_manager = file_io.PathManager
    original = path_manager.copy

    def copy(src_path: str, dst_path: str, overwrite: bool = False) -> Any:
        if not overwrite or not path_manager.supports_rename(dst_path):
            return original(src_path, dst_path, overwrite)
        with _whole(dst_path):
            result = original(src_path, _incomplete(dst_path), True)
            os.replace(_incomplete(dst_path), dst_path)
        return result

    path_manager.copy = staticmethod(copy)


def write_checkpoints_whole(checkpoint_utils: Any) -> None:
    """A full disk ends in a page of traceback, and `checkpoint_last.pt.tmp` keeps the disk full.

    Where: fairseq/checkpoint_utils.py:549 and 570: a failed write is tried again twice, behind what
    is there of it, and its file is left.
    When: a full disk, a quota, a network folder that fails for a moment.
    Fix: each try begins with an empty file; after the last the file is removed, and one line says
    which checkpoint was not written, and why.
    """
    original = checkpoint_utils.torch_persistent_save

    @functools.wraps(checkpoint_utils._torch_persistent_save)
    def save(obj: Any, file: Any) -> None:
        for tries_left in (2, 1, 0):
            try:
                return checkpoint_utils.torch.save(obj, file)
            except Exception:
                if not tries_left:
                    raise
                file.seek(0)
                file.truncate()

    @functools.wraps(original)
    def torch_persistent_save(obj: Any, filename: str, async_write: bool = False) -> None:
        if async_write:
            original(obj, filename, async_write)
            return
        with _whole(filename):
            original(obj, filename)

    checkpoint_utils._torch_persistent_save = save
    checkpoint_utils.torch_persistent_save = torch_persistent_save


def _incomplete(path: str) -> str:
    return f"{path}.tmp"


@contextlib.contextmanager
def _whole(path: str) -> Iterator[None]:
    """Remove the incomplete file of a checkpoint that cannot be written, and say so in one line."""
    try:
        core_module("whole_file").check_replaceable(path)
        yield
    except (OSError, RuntimeError) as error:  # torch raises the latter, with the former as context
        with contextlib.suppress(OSError):
            os.remove(_incomplete(path))
        reason: BaseException = error
        while not isinstance(reason, OSError) and reason.__context__ is not None:
            reason = reason.__context__
        why = getattr(reason, "strerror", None) or " ".join(str(reason).split())
        raise CheckpointNotWrittenError(
            f"checkpoint {path} was not written: {why}; the checkpoints that are there are whole, "
            "and the same command goes on from the last of them"
        ) from error
