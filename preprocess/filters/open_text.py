"""Read text files, plain or compressed, line by line, with the place in the file for messages."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO


class UnreadableTextError(Exception):
    """A file that cannot be read as text; the message names the file and the line."""


def _decompressed(raw: BinaryIO, suffix: str) -> Iterable[bytes]:
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=raw)
    if suffix == ".bz2":
        return bz2.BZ2File(raw)
    if suffix == ".xz":
        return lzma.LZMAFile(raw)
    return raw


def drop_invalid_utf8(line: bytes) -> str:
    """Decode, without the bytes that are not UTF-8 and without a byte-order mark."""
    return line.decode("utf-8", errors="ignore").removeprefix("\ufeff")


def read_lines(
    path: Path, *, on_progress: Callable[[int], object] = lambda _: None
) -> Iterator[str]:
    """Yield the lines without their ends (LF or CRLF); only `\\n` separates lines.

    `on_progress` is called now and then with the bytes of the file (as on disk) read since before.

    Raises:
        UnreadableTextError: the archive is damaged or ends too early.
    """
    number = 0
    with open(path, "rb") as raw:
        told = 0
        stream = _decompressed(raw, path.suffix)
        try:
            for number, line in enumerate(stream, start=1):
                yield drop_invalid_utf8(line.rstrip(b"\n").removesuffix(b"\r"))
                if number % 1000 == 0:
                    on_progress(raw.tell() - told)
                    told = raw.tell()
        except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
            raise UnreadableTextError(
                f"{path}: cannot be read beyond line {number}: {error or type(error).__name__}; "
                f"is the download complete?"
            ) from error
        on_progress(raw.tell() - told)
