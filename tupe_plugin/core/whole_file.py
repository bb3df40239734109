"""A file or a folder that is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .process_lock import lock


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Refuse to write in the place of a device, a pipe or a folder, or of a link to one.

    Raises:
        FileExistsError: there is one; it is left as it is.
        ValueError: `-`, which elsewhere is standard output.
    """
    _check_name(path)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise FileExistsError(
            f"{path} is there and is no file that could be replaced: give another name"
        )


def _check_name(path: str | os.PathLike[str]) -> None:
    if os.fspath(path) == "-":
        raise ValueError("- would be standard output, and this is written to a place with a name")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give the place to write to; it becomes `path` when all is written, and goes when not.

    Raises:
        OSError: as raised in the block, with the name of the file where it is this one's (a full
            disk ...); or there is something at `path` that is no file.
    """
    check_replaceable(path)
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        if error.filename is not None and Path(error.filename) != unfinished:
            raise  # another file's
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a new folder to write into; it becomes `path` when all is written, and goes when not.

    Raises:
        FileExistsError: there is something at `path`, which is left as it is, or another process is
            writing it.
        ValueError: `path` is `-`.
        OSError: as raised in the block.
    """
    _check_name(path)
    _check_new(path)
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.mkdir(parents=True, exist_ok=True)
    with _held(unfinished, path):
        try:
            for left in unfinished.iterdir():  # by a run that was killed
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield unfinished
            _check_new(path)
            os.replace(unfinished, path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _check_new(path: Path) -> None:
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists already; give the name of a new folder")


@contextlib.contextmanager
def _held(folder: Path, path: Path) -> Iterator[None]:
    """For this process alone, as long as it lives."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # as of any folder on Windows
        yield
        return
    try:
        if not lock(descriptor):
            raise FileExistsError(f"{path} is being written by another process, in {folder}")
        yield
    finally:
        os.close(descriptor)
