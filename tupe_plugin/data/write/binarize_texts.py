"""A data set out of texts of units: `dict.txt` and, for each split, `.bin` and `.idx`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from ..dictionary_file import NAME, read_dictionary, write_dictionary
from ..worker_pool import WorkerPool
from .binarize import Binarized, binarize
from .build_dictionary import build_dictionary, count_units


def binarize_texts(
    texts: Mapping[str, Path],
    folder: Path,
    pool: WorkerPool,
    *,
    dictionary: Path | None,
    size: int = -1,
    threshold: int = 0,
) -> dict[str, Binarized]:
    """Write the splits into the folder, and what was in them to standard error.

    Args:
        texts: split -> text.
        folder: is made where it is not there.
        pool: does the work.
        dictionary: None: make one of the training text.
        size, threshold: fairseq's `--nwordssrc` and `--thresholdsrc`, where one is made.

    Raises:
        ValueError: the dictionary cannot be used, or a text is not UTF-8.
        OSError: a file cannot be read or written.
    """
    folder.mkdir(exist_ok=True)
    if dictionary is not None:
        symbols = read_dictionary(dictionary)
    else:
        counts = count_units([texts["train"]], pool)
        symbols = build_dictionary(counts, size=size, threshold=threshold)
    write_dictionary(symbols, folder / NAME)
    found = {}
    for split, text in texts.items():
        found[split] = binarize(text, folder / NAME, folder / split, pool)
        sys.stderr.write(
            f"{split}: {found[split].sentences} sents, {found[split].tokens} tokens, "
            f"{found[split].unknown_share:.3%} <unk>\n"
        )
    return found
