"""Drop documents that are nearly equal to an earlier one, by MinHash, in bounded memory.

A document is the set of its shingles: every five words in a row. Its signature is, for each of 128
hash functions, the smallest hash of a shingle; two documents agree in a place with a chance that is
their Jaccard similarity J (shared shingles / all shingles). The signature is cut into `bands` of
`rows` places. A document is dropped where an earlier one has a band in common with it, which
happens with a chance of 1 - (1 - J^rows)^bands: a step near the similarity that was asked for.

Whether the earlier one was itself dropped does not matter, so the result is the same whatever
divides the work. Bands are compared by `later_copies`, one after the other.

(Broder, "On the resemblance and containment of documents", 1997; Leskovec, Rajaraman and Ullman,
"Mining of Massive Datasets", section 3.4.)
"""

from __future__ import annotations

import hashlib
import heapq
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ..chain_blocks import BLOCK_CHARACTERS, blocks_of
from ..worker_pool import WorkerPool
from .drop_duplicates import later_copies

if TYPE_CHECKING:
    from datasketch import MinHash

SHINGLE_WORDS = 5
NUM_HASHES = 128
_SEED = 1
_KEY_BYTES = 16
_SHINGLES_AT_ONCE = 4096  # of a document: bounds the memory for a long one


@dataclass(frozen=True)
class Bands:
    """How a signature is cut, and the work of cutting blocks of documents."""

    number: int
    rows: int

    def build(self) -> Callable[[list[bytes]], bytes]:
        """The function of a block: for each document, the keys of its bands in a row."""
        from datasketch import MinHash

        empty = MinHash(num_perm=NUM_HASHES, seed=_SEED, scheme="affine32")

        def keys(block: list[bytes]) -> bytes:
            return b"".join(self._keys(empty.copy(), document) for document in block)

        return keys

    def _keys(self, signature: MinHash, document: bytes) -> bytes:
        words = document.split()
        shingles = [
            b" ".join(words[start : start + SHINGLE_WORDS])
            for start in range(max(1, len(words) - SHINGLE_WORDS + 1))
        ]
        for start in range(0, len(shingles), _SHINGLES_AT_ONCE):
            signature.update_batch(shingles[start : start + _SHINGLES_AT_ONCE])
        places = signature.hashvalues.astype("<u4")
        return b"".join(
            hashlib.blake2b(
                places[band * self.rows : (band + 1) * self.rows].tobytes(),
                digest_size=_KEY_BYTES,
            ).digest()
            for band in range(self.number)
        )


def bands_for(similarity: float) -> Bands:
    """The bands with the fewest errors on both sides of a similarity."""
    from datasketch import MinHashLSH

    chosen = MinHashLSH(threshold=similarity, num_perm=NUM_HASHES)
    return Bands(chosen.b, chosen.r)


def drop_near_duplicates(
    text: Path, output: Path, pool: WorkerPool, *, similarity: float
) -> dict[str, int]:
    """Write the text without documents that are nearly equal to an earlier one.

    Args:
        text: documents, separated by one empty line.
        output: the file to write.
        pool: what computes the signatures.
        similarity: from which Jaccard similarity on, about.

    Returns:
        How many documents were read and dropped, and what is left.
    """
    bands = bands_for(similarity)
    folder = output.with_name(output.name + ".bands")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    _write_keys(pool.map(bands, _blocks(text)), bands.number, folder)
    copies = heapq.merge(*(_copies(folder / f"{band}") for band in range(bands.number)))
    dropped = (number for number, _ in groupby(copies))
    next_dropped = next(dropped, -1)
    read = kept = lines = 0
    with open(output, "wb") as sink:
        for read, document in enumerate(_documents(text), start=1):
            if read - 1 == next_dropped:
                next_dropped = next(dropped, -1)
                continue
            sink.write(b"\n" + document if kept else document)
            kept += 1
            lines += document.count(b"\n")
    shutil.rmtree(folder)
    return {
        "documents read": read,
        "documents dropped": read - kept,
        "documents": kept,
        "lines": lines,
    }


def _documents(text: Path) -> Iterator[bytes]:
    with open(text, "rb") as stream:
        for is_gap, lines in groupby(stream, key=b"\n".__eq__):
            if not is_gap:
                yield b"".join(lines)


def _blocks(text: Path) -> Iterator[list[bytes]]:
    return blocks_of(_documents(text), len, size=BLOCK_CHARACTERS)


def _write_keys(blocks: Iterable[bytes], bands: int, folder: Path) -> None:
    """A file for each band, with a key for each document."""
    with ExitStack() as stack:
        sinks = [stack.enter_context(open(folder / f"{band}", "wb")) for band in range(bands)]
        for block in blocks:
            for start in range(0, len(block), _KEY_BYTES):
                sinks[start // _KEY_BYTES % bands].write(block[start : start + _KEY_BYTES])


def _copies(path: Path) -> Iterator[int]:
    """The numbers of the documents whose key an earlier one has."""
    return later_copies(_keys_in(path), path.with_suffix(".partitions"))


def _keys_in(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as stream:
        while key := stream.read(_KEY_BYTES):
            yield key
    path.unlink()
