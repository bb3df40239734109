"""A text of units in, the numbers of its sentences out: what fairseq-preprocess does.

The files are the same, byte for byte, as those of `fairseq-preprocess --only-source` of fairseq
0.12.2, for any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core.dictionary_symbols import FAIRSEQ_SYMBOLS
from ..dictionary_file import read_dictionary
from ..worker_pool import WorkerPool
from .indexed_file import indexed_file, number_type
from .text_blocks import TextBlock, text_blocks

_END, _UNKNOWN = FAIRSEQ_SYMBOLS.index("</s>"), FAIRSEQ_SYMBOLS.index("<unk>")
_UNLISTED = -1


@dataclass(frozen=True)
class Binarized:
    """What was in a text."""

    sentences: int
    tokens: int
    """The end of each sentence included."""
    unknown: int
    """Tokens that are `<unk>` to a model, also where the text itself says so."""
    replaced: int
    """Those of them that the dictionary does not list: what fairseq calls replaced."""

    @property
    def unknown_share(self) -> float:
        """Of the tokens, the ends of sentences left out."""
        return self.unknown / max(1, self.tokens - self.sentences)


def binarize(text: Path, dictionary: Path, prefix: Path, pool: WorkerPool) -> Binarized:
    """Write PREFIX.bin and PREFIX.idx: a line is a sentence, an empty line an empty one.

    Args:
        text: units with white space between them.
        dictionary: a `dict.txt`.
        prefix: of the two files.
        pool: does the work.

    Raises:
        BadDictionaryError: the dictionary cannot be used.
        ValueError: the text is not UTF-8; the message names the line.
        OSError: a file cannot be read or written.
    """
    symbols, found = len(read_dictionary(dictionary)), dictionary.stat()
    numbering = _Numbering(dictionary, symbols, found.st_ino, found.st_mtime_ns)
    sentences = tokens = unknown = replaced = 0
    begun = 0  # tokens of the sentence in whose middle the last block ended
    with indexed_file(prefix, number_type(symbols)) as file:
        for block in pool.map(numbering, text_blocks(text)):
            lengths = block.lengths
            if len(lengths):
                lengths[0] += begun
                begun = 0
            begun += block.begun
            file.add(block.numbers, lengths)
            sentences += len(lengths)
            tokens += len(block.numbers)
            unknown += block.unknown
            replaced += block.replaced
    return Binarized(sentences, tokens, unknown, replaced)


class _Numbers(NamedTuple):
    """Of a block: the numbers of its tokens, and the lengths of the lines that end in it."""

    numbers: NDArray[Any]
    lengths: NDArray[np.int64]
    begun: int
    unknown: int
    replaced: int


@dataclass(frozen=True)
class _Numbering:
    dictionary: Path
    symbols: int
    # With these, a dictionary that was replaced is read again.
    inode: int
    modified: int

    def build(self) -> Callable[[TextBlock], _Numbers]:
        index = read_dictionary(self.dictionary).index
        dtype = number_type(self.symbols)

        def numbers_of(block: TextBlock) -> _Numbers:
            *lines, rest = block.read().split("\n")
            if block.is_last and rest:
                lines.append(rest)
                rest = ""
            return _numbers([line.split() for line in lines], rest.split(), index, dtype)

        return numbers_of


def _numbers(
    lines: list[list[str]], begun: list[str], index: dict[str, int], dtype: Any
) -> _Numbers:
    lengths = np.fromiter(map(len, lines), np.int64, len(lines)) + 1
    numbers = np.full(int(lengths.sum()) + len(begun), _END, dtype)
    is_unit = np.ones(len(numbers), bool)
    is_unit[np.cumsum(lengths) - 1] = False
    units = chain(chain.from_iterable(lines), begun)
    found = np.fromiter(map(index.get, units, repeat(_UNLISTED)), np.int64, int(is_unit.sum()))
    unlisted = found == _UNLISTED
    found[unlisted] = _UNKNOWN
    numbers[is_unit] = found
    unknown = int((found == _UNKNOWN).sum())
    return _Numbers(numbers, lengths, len(begun), unknown, int(unlisted.sum()))
