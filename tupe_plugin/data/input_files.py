"""What the user gave to read: is it there, and what does it hold?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_CHUNK = 1 << 20


class InputError(ValueError):
    """A file or a folder that cannot be read; the message names it."""


def check_files(paths: Iterable[Path]) -> None:
    """Before any work is done.

    Raises:
        InputError: one is not there, no file, not readable or empty.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"no such file: {path}")
        if not path.is_file():
            raise InputError(f"not a file: {path}")
        if not os.access(path, os.R_OK):
            raise InputError(f"not readable: {path}")
        if path.stat().st_size == 0:
            raise InputError(f"the file is empty: {path}")


def check_sources(paths: Iterable[Path]) -> None:
    """The same for files or folders of files.

    Raises:
        InputError: as `check_files`; or a folder has no file.
    """
    for path in paths:
        if not path.is_dir():
            check_files([path])
        elif not os.access(path, os.R_OK | os.X_OK):
            raise InputError(f"not readable: {path}")
        elif not files_in(path):
            raise InputError(f"no file in the folder: {path}")


def check_output(folder: Path) -> None:
    """Make a folder to write in.

    Raises:
        InputError: it cannot be made or written in.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder} ({error.strerror})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write in {folder}")


def files_in(path: Path) -> list[Path]:
    """The file itself, or all files in the folder, sorted by the bytes of their paths."""
    if not path.is_dir():
        return [path]
    return sorted((file for file in path.rglob("*") if file.is_file()), key=os.fsencode)


def sha256_of(path: Path) -> str:
    """The digest of a file in hexadecimal, as `sha256sum` prints it; a file is read once."""
    stat = path.stat()
    return _sha256_of(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@cache
def _sha256_of(path: Path, *version: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def content_of(path: Path) -> tuple[str, str]:
    """The name and the digest of a file; of a folder, a digest of its files' names and digests."""
    if not path.is_dir():
        return path.name, sha256_of(path)
    digest = hashlib.sha256()
    for file in files_in(path):
        digest.update(os.fsencode(file.relative_to(path)) + b"\0" + sha256_of(file).encode())
    return path.name, digest.hexdigest()
