"""A `.bz2` archive's blocks, decompressed by several threads, in order."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_END_OF_STREAM = 0x177245385090  # 48 bits, then 32 of a checksum and up to 7 of padding
_LONGEST_END = 11  # bytes


class Bz2Blocks(io.RawIOBase):
    """What the archive holds, to the last byte of the file.

    rapidgzip takes whatever is no stream behind a stream for the end of the file, other streams
    included; so what is behind its end is read by `read_rest`.

    Args:
        path: of the archive.
        raw: the same file.
        threads: how many blocks are decompressed at a time.
        read_rest: what reads an archive from where the file stands.
    """

    def __init__(
        self,
        path: Path,
        raw: BinaryIO,
        *,
        threads: int,
        read_rest: Callable[[BinaryIO], io.RawIOBase],
    ) -> None:
        import rapidgzip

        self._raw = raw
        self._read_rest = read_rest
        self._blocks = rapidgzip.IndexedBzip2File(str(path), parallelization=threads)
        self._rest: io.RawIOBase | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._rest is None:
            try:
                size: int = self._blocks.readinto(buffer)
            except Exception as error:  # whatever C++ throws
                raise OSError(str(error)) from error  # as the standard library has it
            if size:
                return size
            self._raw.seek(self.place())
            self._rest = self._read_rest(self._raw)
        return self._rest.readinto(buffer) or 0

    def place(self) -> int:
        """How many bytes of the file are read."""
        if self._rest is not None:
            return self._raw.tell()
        return (int(self._blocks.tell_compressed()) + 7) // 8

    def close(self) -> None:
        self._blocks.close()
        super().close()


def ends_with_a_stream(raw: BinaryIO) -> bool:
    """Whether nothing is cut off the archive, and nothing stands behind it."""
    size = raw.seek(0, io.SEEK_END)
    raw.seek(max(0, size - _LONGEST_END))
    end = int.from_bytes(raw.read(), "big")
    raw.seek(0)
    return any(
        end >> (padding + 32) & (2**48 - 1) == _END_OF_STREAM and end % 2**padding == 0
        for padding in range(8)
    )
