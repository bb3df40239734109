"""Read text files, plain or compressed, line by line, with the place in the file for messages."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from .bz2_blocks import Bz2Blocks, ends_with_a_stream

COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
_CHUNK = 1 << 20


class UnreadableTextError(ValueError):
    """A file that cannot be read as text; the message names the file and the line."""


class _Frames(Protocol):
    """What decompresses one frame of an archive."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _DecompressedStream(io.RawIOBase):
    """All frames of an archive (`cat a.zst b.zst`, pbzip2, pzstd), to the last byte of the file.

    The readers of the standard library and of zstandard take junk behind a frame for the end of the
    file, and zstandard also an end within a frame; this one does not.
    """

    def __init__(self, raw: BinaryIO, new_frame: Callable[[], _Frames]) -> None:
        self._raw = raw
        self._new_frame = new_frame
        self._frame = new_frame()
        self._fresh = True  # no byte of this frame was read yet
        self._input = b""
        self._output = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._output:
            data = self._input or self._raw.read(_CHUNK)
            if self._fresh:
                data = data.lstrip(b"\0")  # padding between frames
                if not data and not self._raw.peek(1):  # type: ignore[attr-defined]
                    return 0
            if not data and not self._fresh:
                raise EOFError("the file ended before the end of a compressed frame")
            self._input = b""
            if not data:
                continue
            self._fresh = False
            self._output = memoryview(self._frame.decompress(data))
            if self._frame.eof:
                self._input = self._frame.unused_data
                self._frame = self._new_frame()
                self._fresh = True
        size = min(len(buffer), len(self._output))
        buffer[:size] = self._output[:size]
        self._output = self._output[size:]
        return size


def _zstd_frame() -> _Frames:
    # The largest window that `zstd --long=31` can write; the default refuses such archives.
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()


_FRAMES: dict[str, Callable[[], _Frames]] = {
    ".bz2": bz2.BZ2Decompressor,
    ".xz": lzma.LZMADecompressor,
    ".zst": _zstd_frame,
}


def _decompressed(raw: BinaryIO, suffix: str) -> BinaryIO:
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    if suffix in _FRAMES:
        return io.BufferedReader(_DecompressedStream(raw, _FRAMES[suffix]), _CHUNK)
    return raw


@contextmanager
def open_decompressed(
    path: Path, *, workers: int = 1
) -> Iterator[tuple[BinaryIO, Callable[[], int]]]:
    """The file's content, decompressed by its suffix, and what tells how far the reading is.

    Args:
        path: of the file.
        workers: how many threads decompress a `.bz2` archive; one that is damaged at its end is
            read by one, which says how.
    """
    with open(path, "rb", buffering=_CHUNK) as raw:
        if path.suffix == ".bz2" and workers > 1 and ends_with_a_stream(raw):
            blocks = Bz2Blocks(path, raw, threads=workers, read_rest=_bz2_stream)
            with io.BufferedReader(blocks, _CHUNK) as stream:
                yield stream, blocks.place
        else:
            yield _decompressed(raw, path.suffix), raw.tell


def _bz2_stream(raw: BinaryIO) -> io.RawIOBase:
    return _DecompressedStream(raw, bz2.BZ2Decompressor)


# What the standard library and zstandard raise for archives that are damaged or cut off.
DAMAGED = (EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError, OSError)


def drop_invalid_utf8(line: bytes) -> str:
    """Decode, without the bytes that are not UTF-8 and without a byte-order mark."""
    return line.decode("utf-8", errors="ignore").removeprefix("\ufeff")


def decode_lines(
    stream: Iterable[bytes], *, on_invalid: Callable[[int], object] = lambda _: None
) -> Iterator[str]:
    """Yield the lines without their ends (LF or CRLF); `\\n` separates lines.

    `on_invalid` is called with the number of dropped bytes of each line that is not UTF-8.
    """
    for raw_line in stream:
        line = raw_line.rstrip(b"\n").removesuffix(b"\r")
        try:
            text = line.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError:
            text = drop_invalid_utf8(line)
            on_invalid(len(line.removeprefix(b"\xef\xbb\xbf")) - len(text.encode("utf-8")))
        yield text


def _lines_of(stream: BinaryIO) -> Iterable[bytes]:
    """The stream itself, or, where `\\r` ends the lines of its first megabyte, those lines."""
    start: bytes = stream.peek(_CHUNK)  # type: ignore[attr-defined]
    return _lines_before_cr(stream) if b"\r" in start and b"\n" not in start else stream


def _lines_before_cr(stream: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\r")
        yield from lines
    if rest:
        yield rest


def read_lines(
    path: Path,
    *,
    workers: int = 1,
    on_progress: Callable[[int], object] = lambda _: None,
    on_invalid: Callable[[int], object] = lambda _: None,
) -> Iterator[str]:
    """Yield the lines of a file, plain or compressed, without their ends (LF, CRLF or CR).

    `on_progress` is called now and then with the bytes of the file (as on disk) read since before,
    `on_invalid` as in `decode_lines`; `workers` as in `open_decompressed`.

    Raises:
        UnreadableTextError: the archive is damaged or ends too early.
    """
    number = 0
    with open_decompressed(path, workers=workers) as (stream, place):
        told = 0
        try:
            for number, line in enumerate(
                decode_lines(_lines_of(stream), on_invalid=on_invalid), start=1
            ):
                yield line
                if number % 1000 == 0:
                    on_progress(place() - told)
                    told = place()
        except DAMAGED as error:
            raise UnreadableTextError(
                f"{path}: cannot be read beyond line {number}: {error or type(error).__name__}; "
                f"is the download complete?"
            ) from error
        on_progress(place() - told)
