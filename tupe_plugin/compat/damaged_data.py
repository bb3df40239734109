"""Checks that the files of binarised data are whole and belong together.

Read are the index files, and as much of the texts as takes a moment: all of a fine-tuning's data,
the beginning and the end of a pre-training's.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any

from .data_on_disk import HEADER, INPUT_FOLDER, Split, header_of, splits, why_unreadable
from .refused_job import RefusedJobError

MAGIC, ROW = b"MMIDIDX\0\0", 12  # fairseq's mmap format; bytes of a row in the index
LOOKED_AT = 1 << 27  # numbers at the beginning of a text, and at its end


def check_files_are_whole(cfg: Any) -> None:
    """`struct.error`, `buffer is smaller than requested size`, `index out of range in self`.

    Raises:
        RefusedJobError: an index or a text is damaged or cut off, or of another dictionary.
    """
    for split in splits(cfg):
        folder = os.path.join(split.data, INPUT_FOLDER[cfg.task._name])
        words = _num_words(os.path.join(folder, "dict.txt"))
        for prefix in _prefixes(split, cfg):
            _check_whole(split, prefix, None if _is_label(prefix) else words)


def _prefixes(split: Split, cfg: Any) -> Iterator[str]:
    yield split.prefix
    if cfg.task._name == "sentence_prediction":
        yield os.path.join(split.data, "input1", split.name)
        if split.is_scored and not cfg.task.regression_target:
            yield os.path.join(split.data, "label", split.name)


def _is_label(prefix: str) -> bool:
    return os.path.basename(os.path.dirname(prefix)) == "label"


def _num_words(path: str) -> int:
    from fairseq.data import Dictionary

    return len(Dictionary.load(path))


def problem_of_index(index: str) -> str | None:
    """What is wrong with the header or the size of an index; None of one of an older kind, too."""
    from fairseq.data.indexed_dataset import _code_to_dtype

    with open(index, "rb") as file:
        if not MAGIC.startswith(file.read(8)):  # all that fairseq looks at
            return None
    try:
        header = header_of(index)
    except struct.error:
        return "is cut off"
    if header.magic != MAGIC or header.version != 1 or header.dtype not in _code_to_dtype:
        return "is damaged"
    if os.path.getsize(index) != HEADER.size + ROW * header.rows:
        return f"is cut off or damaged: it should have {header.rows:,} rows"
    return None


def _check_whole(split: Split, prefix: str, words: int | None) -> None:
    """`words` are those of the dictionary; None: somebody else looks at the numbers."""
    import numpy as np
    from fairseq.data.indexed_dataset import _code_to_dtype, infer_dataset_impl

    index, text = f"{prefix}.idx", f"{prefix}.bin"
    if not os.path.exists(index) and not os.path.exists(text):
        return  # there are no pairs; other checks say so where it is not allowed
    problem = why_unreadable(prefix)
    if problem is not None:
        raise RefusedJobError(f"{split.flag}: {problem}")
    if infer_dataset_impl(prefix) != "mmap":
        return  # of an older kind

    def refuse(path: str, what: str) -> RefusedJobError:
        return RefusedJobError(f"{split.flag}: {path} {what}: binarise the data again")

    problem = problem_of_index(index)
    if problem is not None:
        raise refuse(index, problem)
    _, _, code, rows = header_of(index)
    if rows == 0:
        return
    start = HEADER.size
    sizes = np.memmap(index, np.int32, "r", offset=start, shape=rows)
    places = np.memmap(index, np.int64, "r", offset=start + 4 * rows, shape=rows)
    kind = np.dtype(_code_to_dtype[code])
    ends = np.cumsum(sizes, dtype=np.int64) * kind.itemsize
    if sizes.min() < 0 or not np.array_equal(places[1:], ends[:-1]) or places[0] != 0:
        raise refuse(index, "is damaged")
    if os.path.getsize(text) != ends[-1]:
        has = f"has {os.path.getsize(text):,} bytes"
        raise refuse(text, f"{has} and not the {ends[-1]:,} that {index} tells of")
    numbers = np.memmap(text, kind, "r") if ends[-1] else np.empty(0, kind)
    for part in (numbers[:LOOKED_AT], numbers[-LOOKED_AT:]) if words is not None else ():
        if len(part) and not 0 <= part.min() <= part.max() < words:
            raise RefusedJobError(
                f"{split.flag}: {text} has the word {part.max() if part.min() >= 0 else part.min()}"
                f", and the dictionary {words} words: one of them is damaged, or they do not "
                "belong together; binarise the data again"
            )
