"""A dictionary of a text's units, the same that fairseq-preprocess makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...core.dictionary_symbols import FAIRSEQ_SYMBOLS, PADDING
from ..dictionary_file import Dictionary
from ..worker_pool import WorkerPool
from .text_blocks import TextBlock, text_blocks


def count_units(texts: Iterable[Path], pool: WorkerPool) -> Counter[str]:
    """How often each unit is in the files.

    Raises:
        ValueError: a file is not UTF-8; the message names the line.
        OSError: a file cannot be read.
    """
    counts: Counter[str] = Counter()
    blocks = (block for text in texts for block in text_blocks(text))
    for more in pool.map(_Counting(), blocks):
        counts.update(more)
    return counts


def build_dictionary(
    counts: Mapping[str, int], *, size: int = -1, threshold: int = 0, padding_factor: int = 8
) -> Dictionary:
    """The most frequent units; of those that are as frequent, the first by code points.

    Args:
        counts: of the units.
        size: fairseq's `--nwordssrc`: so many symbols at most, its own four included; 0 or less:
            all.
        threshold: fairseq's `--thresholdsrc`: units seen less often are left out.
        padding_factor: symbols are added until the number of symbols is a multiple of it.
    """
    units = [(unit, n) for unit, n in counts.items() if unit not in FAIRSEQ_SYMBOLS]
    units.sort(key=lambda entry: (-entry[1], entry[0]))
    if size > 0:
        del units[max(0, size - len(FAIRSEQ_SYMBOLS)) :]
    entries = [(unit, n) for unit, n in units if n >= threshold]
    listed = {unit for unit, _ in entries}
    number = 0
    while padding_factor > 1 and (len(FAIRSEQ_SYMBOLS) + len(entries)) % padding_factor:
        filler = f"{PADDING}{number:04d}"
        if filler not in listed:
            entries.append((filler, 0))
        number += 1
    return Dictionary(entries)


@dataclass(frozen=True)
class _Counting:
    def build(self) -> Callable[[TextBlock], Counter[str]]:
        return lambda block: Counter(block.read().split())
