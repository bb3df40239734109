"""Join the parts of a corpus and drop what was there before, exactly, in bounded memory.

The parts are those of `clean_documents`, in order and in groups: a document from each part of a
group in turn, one group after the other, gives the corpus's own order back, so the result does not
depend on their number. Of equal documents (or lines) the first is kept.

Two passes. The first writes a 128-bit hash of each unit and its number into one of 64 files, by the
hash's first bits: equal units meet in one file. Each file is sorted alone, which gives the numbers
of the units to drop; the second pass leaves them out. For 16 GB of text in documents of 1 KB the
files hold 6 MB each. (Two different units of the same hash: one chance in 10^20 for 10^9 units.)
"""

from __future__ import annotations

import hashlib
import heapq
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import numpy as np

_PARTITIONS = 64
_RECORD = np.dtype([("high", "<u8"), ("low", "<u8"), ("number", "<u8")])


def interleave(shards: list[Path]) -> Iterator[bytes]:
    """The lines of one document from each shard in turn; an empty line ends each document.

    Raises:
        ValueError: the shards are not those of one corpus, in order.
    """
    with ExitStack() as stack:
        streams = [stack.enter_context(open(shard, "rb")) for shard in shards]
        ended: Path | None = None
        while True:
            for shard, stream in zip(shards, streams, strict=True):
                line = stream.readline()
                if not line:
                    if ended is None:
                        ended = shard
                    continue
                if ended is not None:
                    raise ValueError(f"{shard} goes on where {ended} has ended: not of one corpus")
                while line and line != b"\n":
                    yield line
                    line = stream.readline()
                if not line:
                    raise ValueError(f"{shard} ends within a document: it is not whole")
                yield line
            if ended is not None:
                return


def _lines(groups: list[list[Path]]) -> Iterator[bytes]:
    """The lines of the corpus."""
    return chain.from_iterable(map(interleave, groups))


def _hashes(groups: list[list[Path]], unit: str) -> Iterator[bytes]:
    """The 16-byte hash of each unit, in order; documents of which nothing is left are none."""
    digest = hashlib.blake2b(digest_size=16)
    is_empty = True
    for line in _lines(groups):
        if line != b"\n":
            digest.update(line)
            is_empty = False
        if not is_empty and (unit == "lines" or line == b"\n"):
            yield digest.digest()
            digest = hashlib.blake2b(digest_size=16)
            is_empty = True


def later_copies(hashes: Iterator[bytes], folder: Path) -> Iterator[int]:
    """The numbers of the hashes that were there before, ascending; `folder` holds the files."""
    folder.mkdir()
    paths = [folder / f"{index:02}" for index in range(_PARTITIONS)]
    with ExitStack() as stack:
        sinks = [stack.enter_context(open(path, "wb")) for path in paths]
        for number, digest in enumerate(hashes):
            sinks[digest[0] % _PARTITIONS].write(digest + number.to_bytes(8, "little"))
    for path in paths:
        records = np.fromfile(path, _RECORD)
        records = records[np.lexsort((records["number"], records["low"], records["high"]))]
        equals_previous = np.zeros(len(records), bool)
        equals_previous[1:] = (records["high"][1:] == records["high"][:-1]) & (
            records["low"][1:] == records["low"][:-1]
        )
        np.sort(records["number"][equals_previous]).tofile(path)
    return heapq.merge(*(_numbers(path) for path in paths))


def _numbers(path: Path) -> Iterator[int]:
    with open(path, "rb") as stream:
        while chunk := stream.read(8 * 1024):
            yield from np.frombuffer(chunk, "<u8").tolist()


def drop_duplicates(groups: list[list[Path]], output: Path, *, unit: str) -> dict[str, int]:
    """Write the corpus without later copies, documents separated by one empty line.

    Args:
        groups: the parts of each, in order.
        output: the file to write.
        unit: what is compared: documents, lines or none.

    Returns:
        How many units were read and dropped and how many documents were written.
    """
    partitions = output.with_name(output.name + ".partitions")
    shutil.rmtree(partitions, ignore_errors=True)
    dropped = iter(()) if unit == "none" else later_copies(_hashes(groups, unit), partitions)
    next_dropped = next(dropped, -1)
    number = documents = num_dropped = lines = 0
    started = False  # a line of the document that is being read was written
    is_empty = True  # it has no line at all
    with open(output, "wb") as sink:
        for line in _lines(groups):
            if line == b"\n":
                if unit == "documents" and not is_empty:
                    if number == next_dropped:
                        next_dropped, num_dropped = next(dropped, -1), num_dropped + 1
                    number += 1
                documents += started
                started, is_empty = False, True
                continue
            is_empty = False
            drop = number == next_dropped
            if unit == "lines":
                number += 1
                if drop:
                    next_dropped, num_dropped = next(dropped, -1), num_dropped + 1
            if not drop:
                sink.write(b"\n" + line if documents and not started else line)
                started = True
                lines += 1
    shutil.rmtree(partitions, ignore_errors=True)
    return {
        "documents": documents,
        "lines": lines,
        **({} if unit == "none" else {unit + " read": number, unit + " dropped": num_dropped}),
    }
