"""Checks of the binarised data that a job names, made from its files before they are loaded.

A check takes the configuration of the whole job and raises where training or validation would fail
later, or end in numbers that mean nothing. Of the texts only the headers of the index files are
read, of the labels everything: they are small.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from glob import escape, glob
from typing import Any, NamedTuple

from .checkpoint_package import core_module
from .refused_job import RefusedJobError

HEADER = struct.Struct("<9sQBQ")  # of an index in fairseq's mmap format
LARGEST = (2 - 2**-23) * 2.0**127  # in float32
INPUT_FOLDER = {"masked_lm": "", "sentence_prediction": "input0"}  # in the folder of the data


class Split(NamedTuple):
    flag: str  # as the user gave it, or would have
    name: str
    data: str  # the folder on the command line
    prefix: str  # its texts: prefix.idx, prefix.bin
    is_scored: bool


def check_splits_exist(cfg: Any) -> None:
    """`could not find dataset: input0/dev`, after the model was built, or an epoch later.

    Raises:
        RefusedJobError: a split of the command line has no files.
    """
    for split in splits(cfg):
        problem = why_unreadable(split.prefix)
        if problem is not None:
            raise RefusedJobError(f"{split.flag}: {problem}")


def check_splits_hold_something(cfg: Any) -> None:
    """`cannot mmap an empty file`, or `The dataset is empty`.

    Raises:
        RefusedJobError: a split has no sentence.
    """
    for split in splits(cfg):
        if _num_rows(split.prefix) == 0:
            raise RefusedJobError(f"{split.flag}: {split.prefix} is empty, it has no sentence")


def check_pairs(cfg: Any) -> None:
    """`AssertionError` where the second sentences of some pairs are missing.

    Raises:
        RefusedJobError: a split has more, or fewer, second sentences than first ones.
    """
    if cfg.task._name != "sentence_prediction":
        return
    for split in splits(cfg):
        second = os.path.join(split.data, "input1", split.name)
        if os.path.exists(f"{second}.idx"):
            _check_as_many(split, f"second sentences in {second}", _num_rows(second))


def check_class_labels(cfg: Any) -> None:
    """`KeyError: 'target'`, `Target -1 is out of bounds`, `dataset lengths must match`.

    Raises:
        RefusedJobError: labels are missing, too few, not in the dictionary, or fewer than
            `--num-classes`, and the predictions of such a model could not be named.
    """
    if cfg.task._name != "sentence_prediction" or cfg.task.regression_target:
        return
    import numpy as np
    from fairseq.data import Dictionary, data_utils
    from fairseq.data.indexed_dataset import MMapIndexedDataset

    known = os.path.join(cfg.task.data, "label", "dict.txt")
    dictionary = Dictionary.load(known)
    classes = core_module("class_labels").labels_of(dictionary)
    if cfg.task.num_classes > len(classes):
        raise RefusedJobError(
            f"--num-classes {cfg.task.num_classes}: {known} has {len(classes)} labels "
            f"({', '.join(classes[:10])}): give --num-classes {len(classes)}"
        )
    for split in splits(cfg):
        prefix = os.path.join(split.data, "label", split.name)
        if not split.is_scored:
            continue
        problem = why_unreadable(prefix)
        if problem is not None:
            raise RefusedJobError(f"{split.flag}: its sentences have no labels: {problem}")
        _check_as_many(split, f"labels in {prefix}", _num_rows(prefix))
        labels = data_utils.load_indexed_dataset(prefix, dictionary)
        if isinstance(labels, MMapIndexedDataset):
            ids = np.frombuffer(labels._bin_buffer, dtype=labels._index.dtype)
        else:
            ids = np.concatenate([labels[row].numpy() for row in range(len(labels))])
        rows = np.repeat(np.arange(len(labels)), labels.sizes)
        is_label = ids != dictionary.eos()
        ids, rows = ids[is_label], rows[is_label]
        _refuse_rows(
            rows[(ids < dictionary.nspecial) | (ids >= len(dictionary))],
            f"{split.flag}: the label of {{row}} of {prefix} is not in {known}: binarise the "
            f"labels with --srcdict {known}, or correct them",
        )
        words = np.bincount(rows, minlength=len(labels))
        _refuse_rows(
            np.flatnonzero(words != 1),
            f"{split.flag}: {{row}} of {prefix} has no label, or one of several words: a label is "
            "one word",
        )


def check_regression_labels(cfg: Any) -> None:
    """Pearson 0.0 for a NaN, `could not convert string to float`, `KeyError: 'target'`.

    Raises:
        RefusedJobError: labels are missing, too few, or no finite numbers.
    """
    if cfg.task._name != "sentence_prediction" or not cfg.task.regression_target:
        return
    for split in splits(cfg):
        if not split.is_scored:
            continue
        path = os.path.join(split.data, "label", f"{split.name}.label")
        if not os.path.exists(path):
            classes = os.path.join(split.data, "label", "dict.txt")
            raise RefusedJobError(
                f"{split.flag}: --regression-target reads numbers from {path}, which is not there"
                + (f"; {classes} is: leave the option out?" if os.path.exists(classes) else "")
            )
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.readlines()
        _check_as_many(split, f"labels in {path}", len(lines))
        for number, line in enumerate(lines, 1):
            if not all(map(_is_finite, line.split())):
                raise RefusedJobError(
                    f"{split.flag}: {path}, line {number}: {line.strip()!r} is not a finite number"
                )
            if len(line.split()) != cfg.task.num_classes:
                raise RefusedJobError(
                    f"{split.flag}: {path}, line {number}: {len(line.split())} numbers, but "
                    f"--num-classes {cfg.task.num_classes}, which with --regression-target is how "
                    "many a line has"
                )


def splits(cfg: Any) -> Iterator[Split]:
    """Those of the command line; none where the task's files are not known here."""
    if cfg.task._name not in INPUT_FOLDER:
        return
    from fairseq import utils

    folder = INPUT_FOLDER[cfg.task._name]
    shards = utils.split_paths(cfg.task.data) if cfg.task._name == "masked_lm" else [cfg.task.data]
    valid = "valid" if cfg.dataset.combine_valid_subsets else cfg.dataset.valid_subset
    is_scored = not cfg.dataset.disable_validation
    named = [("--train-subset", cfg.dataset.train_subset, shards, True)]
    named += [("--valid-subset", name, shards[:1], is_scored) for name in valid.split(",")]
    for flag, name, paths, scored in named:
        for data in paths:
            yield Split(f"{flag} {name}", name, data, os.path.join(data, folder, name), scored)


def why_unreadable(prefix: str) -> str | None:
    """Why fairseq cannot tell of what kind these data are, or None."""
    from fairseq.data.indexed_dataset import infer_dataset_impl

    if infer_dataset_impl(prefix) is not None:
        return None
    lacks = [end for end in ("idx", "bin") if not os.path.exists(f"{prefix}.{end}")]
    if not lacks:
        return f"{prefix}.idx is damaged: binarise the data again"
    folder = os.path.dirname(prefix)
    there = sorted(os.path.basename(path)[:-4] for path in glob(f"{escape(folder)}/*.idx"))
    return f"no {prefix}.{lacks[0]}; {folder} has {', '.join(there) or 'no data'}"


class IndexHeader(NamedTuple):
    """The beginning of an index in fairseq's mmap format."""

    magic: bytes
    version: int
    dtype: int  # a code of fairseq's
    rows: int


def header_of(index: str) -> IndexHeader:
    """Of an index in that format.

    Raises:
        struct.error: it is cut off.
    """
    with open(index, "rb") as file:
        return IndexHeader(*HEADER.unpack(file.read(HEADER.size)))


def _num_rows(prefix: str) -> int | None:
    """From the index file's header; None where it is of an older kind."""
    from fairseq.data.indexed_dataset import infer_dataset_impl

    return header_of(f"{prefix}.idx").rows if infer_dataset_impl(prefix) == "mmap" else None


def _check_as_many(split: Split, what: str, count: int | None) -> None:
    sentences = _num_rows(split.prefix)
    if None not in (count, sentences) and count != sentences:
        raise RefusedJobError(f"{split.flag}: {sentences} sentences, but {count} {what}")


def _refuse_rows(rows: Any, message: str) -> None:
    if len(rows):
        more = f" (and of {len(rows) - 1} more)" if len(rows) > 1 else ""
        raise RefusedJobError(message.replace("{row}", f"line {rows[0] + 1}{more}"))


def _is_finite(word: str) -> bool:
    """In float32, in which the job computes."""
    try:
        return abs(float(word)) <= LARGEST
    except ValueError:
        return False
