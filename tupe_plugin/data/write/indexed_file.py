"""fairseq's `mmap` format of sentences of numbers: PREFIX.bin and PREFIX.idx.

.bin  the numbers of all sentences, one after the other
.idx  "MMIDIDX\\0\\0", version (uint64), code of the numbers' type (uint8), sentences (uint64),
      then for each sentence its length (int32), then for each where it begins in .bin (int64)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...core.whole_file import whole_file

MAGIC = b"MMIDIDX\0\0"
HEADER = struct.Struct(f"<{len(MAGIC)}sQBQ")
NUMBER_TYPES: dict[int, type[np.generic]] = {
    1: np.uint8,
    2: np.int8,
    3: np.int16,
    4: np.int32,
    5: np.int64,
    8: np.uint16,
    9: np.uint32,
    10: np.uint64,
}
"""By their codes in an index."""
_CODES = {dtype: code for code, dtype in NUMBER_TYPES.items()}
_STEP = 1 << 20  # lengths that are held in memory


def number_type(symbols: int) -> type[np.uint16 | np.uint32 | np.int64]:
    """What fairseq stores the numbers of so many symbols in."""
    if symbols < 65_500:
        return np.uint16
    return np.uint32 if symbols < 4_294_967_295 else np.int64


class IndexedFile:
    """Where sentences are added, some at a time; see `indexed_file`."""

    def __init__(self, numbers: BinaryIO, index: BinaryIO, dtype: Any) -> None:
        self._numbers, self._index, self._dtype = numbers, index, np.dtype(dtype)
        self._code = _CODES[dtype]
        self._sentences = 0
        self._write_header()

    def add(self, numbers: NDArray[Any], lengths: NDArray[Any]) -> None:
        """The numbers of some sentences, and their lengths.

        The end of the last sentence may follow with the next numbers: its length comes then.
        """
        self._numbers.write(numbers.astype(self._dtype, copy=False).tobytes())
        self._index.write(lengths.astype(np.int32).tobytes())
        self._sentences += len(lengths)

    def finish(self) -> None:
        """Write what can only be known at the end."""
        place = 0
        for first in range(0, self._sentences, _STEP):
            self._index.seek(HEADER.size + 4 * first)
            content = self._index.read(4 * min(_STEP, self._sentences - first))
            ends = place + self._dtype.itemsize * np.cumsum(
                np.frombuffer(content, np.int32), dtype=np.int64
            )
            self._index.seek(0, 2)
            self._index.write(np.concatenate([[place], ends[:-1]]).astype(np.int64).tobytes())
            place = int(ends[-1])
        self._index.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        self._index.write(HEADER.pack(MAGIC, 1, self._code, self._sentences))


@contextmanager
def indexed_file(prefix: Path, dtype: Any) -> Iterator[IndexedFile]:
    """Give the place to add sentences to; the two files are there when all is written, or neither.

    Raises:
        OSError: they cannot be written.
    """
    numbers, index = (prefix.with_name(f"{prefix.name}.{end}") for end in ("bin", "idx"))
    with whole_file(index) as index_place, whole_file(numbers) as numbers_place:
        with open(numbers_place, "wb") as numbers_file, open(index_place, "w+b") as index_file:
            files = IndexedFile(numbers_file, index_file, dtype)
            yield files
            files.finish()
        index.unlink(missing_ok=True)  # an older one does not fit the numbers that come now
