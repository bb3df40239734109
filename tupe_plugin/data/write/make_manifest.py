"""Check a data-bin folder against the text it was made from and write its `manifest.json`.

The manifest says what went in (names, sizes, SHA-256), what was asked for, which versions did it,
what each step counted, and what came out (sentences, tokens, SHA-256). It holds no date, no folder
and no number of processes: equal inputs and options give equal bytes.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..input_files import sha256_of
from ..libraries import versions_of
from .indexed_file import HEADER, MAGIC, NUMBER_TYPES

_LIBRARIES = (
    *("datasketch", "fairseq", "mwparserfromhell", "numpy", "regex", "sacremoses", "sentencex"),
    *("tokenizers", "torch", "zstandard"),
)
_CHUNK = 1 << 20


class UnfinishedDataError(ValueError):
    """A data set that is not what its text says; the message names the file."""


def count_lines(path: Path) -> int:
    """How many newlines the file has."""
    with open(path, "rb") as stream:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(_CHUNK), b""))


def read_index(path: Path) -> tuple[int, int, int]:
    """The numbers of sentences, tokens and bytes that a fairseq `.idx` (mmap) promises.

    Raises:
        UnfinishedDataError: the file is not an index or ends too early.
    """
    size = path.stat().st_size
    with open(path, "rb") as stream:
        raw = stream.read(HEADER.size)
    if len(raw) < HEADER.size or not raw.startswith(MAGIC):
        raise UnfinishedDataError(f"{path}: not an index of fairseq's mmap format")
    _, _, code, sentences = HEADER.unpack(raw)
    if code not in NUMBER_TYPES or size != HEADER.size + sentences * (4 + 8):
        raise UnfinishedDataError(f"{path}: {size} bytes do not hold {sentences} sentences")
    sizes = np.memmap(path, "<i4", "r", offset=HEADER.size, shape=(sentences,)) if sentences else ()
    tokens = int(np.sum(sizes, dtype=np.int64))
    return sentences, tokens, tokens * np.dtype(NUMBER_TYPES[code]).itemsize


def check_split(prefix: Path, text: Path) -> dict[str, int]:
    """The split's sentences and tokens.

    Raises:
        UnfinishedDataError: there are not as many sentences as lines in the text, or the data file
            is not as long as its index says.
    """
    index, data = prefix.with_suffix(".idx"), prefix.with_suffix(".bin")
    sentences, tokens, size = read_index(index)
    lines = count_lines(text)
    if sentences != lines:
        raise UnfinishedDataError(f"{index}: {sentences} sentences, but {text} has {lines} lines")
    if data.stat().st_size != size:
        raise UnfinishedDataError(f"{data}: {data.stat().st_size} bytes, its index says {size}")
    return {"sentences": sentences, "tokens": tokens}


def manifest(
    data_bin: Path,
    *,
    texts: dict[str, Path],
    found: Mapping[str, Mapping[str, int]],
    counts: dict[str, list[list[Path]]],
    options: dict[str, str],
    inputs: Iterable[Path],
) -> dict[str, Any]:
    """Everything that the file says.

    Args:
        data_bin: the folder of the data.
        texts: split -> the text that it was made from.
        found: split -> what `unknown_units` says of it.
        counts: step -> the files of what it counted, one for each part, by groups.
        options: flag -> value.
        inputs: the user's files.

    Raises:
        UnfinishedDataError: a split is not what its text says; shards are not of one corpus.
        OSError: a file cannot be read.
    """
    return {
        "versions": versions_of(_LIBRARIES),
        "options": options,
        "inputs": [_input(path) for path in inputs],
        "steps": {name: _merged_counts(groups) for name, groups in counts.items()},
        "data": {
            name: {**found[name], **check_split(data_bin / name, text)}
            for name, text in texts.items()
        },
        "outputs": {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
            for path in sorted(data_bin.iterdir())
            if path.suffix != ".log" and path.name != "manifest.json"
        },
    }


def _merged_counts(groups: list[list[Path]]) -> Any:
    """The counts of a step; those of parts added up, where those of a group have read the same."""
    corpus, cleaned = Counter[str](), Counter[str]()
    for paths in groups:
        read = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        if "shard" not in read[0]:
            return read[0]
        if any(counts["corpus"] != read[0]["corpus"] for counts in read):
            raise UnfinishedDataError(f"{paths[0]} and its other parts have read different files")
        corpus.update(read[0]["corpus"])
        for counts in read:
            cleaned.update(counts["shard"])
    return {"corpus": corpus, "cleaned": cleaned}


def _input(path: Path) -> dict[str, Any]:
    """The name without the folder: it is the same wherever the file lies."""
    name = os.fsencode(path.name).decode("utf-8", errors="replace")
    return {"name": name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
