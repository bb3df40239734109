"""A folder of data that holds no dictionary, or a damaged one."""

from __future__ import annotations

import functools
import os
from glob import escape, glob
from typing import Any

from .refused_job import RefusedJobError

PARTS = ("input0", "input1", "label")  # of the data of --task sentence_prediction
MOST_FOLDERS = 3


def name_a_damaged_dictionary(dictionary: Any) -> None:
    """`ValueError: Incorrect dictionary format`, `RuntimeError: Duplicate word`, without the file.

    Where: fairseq/data/dictionary.py:243 to 266.
    When: a `dict.txt` is damaged, or is no dictionary.
    Fix: the error names it.
    """
    original = dictionary.Dictionary.add_from_file

    @functools.wraps(original)
    def add_from_file(self: Any, f: Any) -> None:
        try:
            original(self, f)
        except OSError:
            raise
        except Exception as error:  # of fairseq's own three kinds, one is a bare Exception
            if not isinstance(f, str):  # fairseq calls the function again with the open file
                raise
            reason = " ".join(str(error).split())
            raise RefusedJobError(
                f"{f} is no dictionary, or it is damaged ({reason}): binarise the data again"
            ) from error

    dictionary.Dictionary.add_from_file = add_from_file


def name_the_folder_that_has_the_dictionary(dictionary: Any) -> None:
    """`FileNotFoundError: [Errno 2] No such file or directory: 'data/books/dict.txt'`.

    Where: fairseq/data/dictionary.py:224, below a traceback.
    When: DATA is the folder above the binarised data, or data of another task.
    Fix: the error says what there is, and which folder may be meant.
    """
    original = dictionary.Dictionary.add_from_file

    @functools.wraps(original)
    def add_from_file(self: Any, f: Any) -> None:
        if isinstance(f, str) and os.path.basename(f) == "dict.txt" and not os.path.exists(f):
            raise FileNotFoundError(_what_is_there(f))
        original(self, f)

    dictionary.Dictionary.add_from_file = add_from_file


def _what_is_there(path: str) -> str:
    data, wanted = os.path.split(path)
    if os.path.basename(data) in PARTS:
        data, part = os.path.split(data)
        wanted = os.path.join(part, wanted)
    data = data or "."
    if os.path.isdir(data):
        problem, pattern = f"no {wanted} in {data}", os.path.join(escape(data), "*", wanted)
    else:
        problem = f"there is no folder {data}"
        pattern = os.path.join(f"{escape(data)}*", wanted)
    if os.path.exists(os.path.join(data, "input0", "dict.txt")):
        return f"{problem}: it is data for --task sentence_prediction"
    if os.path.exists(os.path.join(data, "dict.txt")):
        return f"{problem}: it is data for --task masked_lm"
    folders = [found[: -len(wanted) - 1] for found in sorted(glob(pattern))]
    if folders:
        return f"{problem}; did you mean {' or '.join(folders[:MOST_FOLDERS])}?"
    return f"{problem}: give a folder of binarised data (preprocess/README.md)"
