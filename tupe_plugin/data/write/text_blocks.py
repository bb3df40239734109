"""A text file in blocks that workers read by themselves, so that memory does not grow with it.

Lines and units are those of fairseq: `\\n`, `\\r` and `\\r\\n` end a line, and any white space of
Unicode (what `str.split` takes for it) is between units.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

BLOCK_BYTES = 1 << 21
_STEP = 1 << 16
_CUT = re.compile(rb"[ \n]")  # never inside of a character, of a unit, or of \r\n


class TextBlock(NamedTuple):
    """A part of a file that ends between two units, in the middle of a line maybe."""

    path: Path
    start: int
    stop: int
    is_last: bool

    def read(self) -> str:
        """Its text, with `\\n` at the end of each line.

        Raises:
            ValueError: it is not UTF-8; the message names the line.
            OSError: the file cannot be read.
        """
        with open(self.path, "rb") as file:
            file.seek(self.start)
            content = file.read(self.stop - self.start)
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            line = _lines_before(self.path, self.start + error.start) + 1
            raise ValueError(f"{self.path}:{line}: not UTF-8 ({error.reason})") from error
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text


def text_blocks(path: Path) -> Iterator[TextBlock]:
    """The blocks of a file, each of `BLOCK_BYTES` and to the end of the unit there.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        total = file.seek(0, 2)
        start = 0
        while start < total:
            stop = _next_cut(file, start + BLOCK_BYTES) or total
            yield TextBlock(path, start, stop, stop == total)
            start = stop


def _next_cut(file: BinaryIO, place: int) -> int | None:
    file.seek(place)
    while chunk := file.read(_STEP):
        cut = _CUT.search(chunk)
        if cut:
            return place + cut.end()
        place += len(chunk)
    return None


def _lines_before(path: Path, place: int) -> int:
    lines = 0
    with open(path, "rb") as file:
        while place > 0:
            chunk = file.read(min(place, BLOCK_BYTES))
            lines += chunk.count(b"\n")
            place -= len(chunk)
    return lines
