"""Check a data-bin folder against the text it was made from and write its `manifest.json`.

    python -m tupe_plugin.data.write.make_manifest --data-bin DIR --text train=FILE \\
        --text valid=FILE [--counts NAME=FILE ...] [--option NAME=VALUE ...] [--inputs FILE]

The manifest says what went in (names, sizes, SHA-256), what was asked for, which versions did it,
what each step counted, and what came out (sentences, tokens, SHA-256). It holds no date, no folder
and no number of processes: equal inputs and options give equal bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .write_counts import write_counts

_PACKAGES = (
    *("fairseq", "mwparserfromhell", "numpy", "regex", "sacremoses", "sentencex", "tokenizers"),
    *("torch", "zstandard"),
)
_CHUNK = 1 << 20
# Bytes of a token by the number that the index gives: fairseq.data.indexed_dataset.
_DTYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8}


class UnfinishedDataError(Exception):
    """A data set that is not what its text says; the message names the file."""


def sha256_of(path: Path) -> str:
    """The digest of a file in hexadecimal, as `sha256sum` prints it."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def count_lines(path: Path) -> int:
    """How many newlines the file has."""
    with open(path, "rb") as stream:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(_CHUNK), b""))


def read_index(path: Path) -> tuple[int, int, int]:
    """The numbers of sentences, tokens and bytes that a fairseq `.idx` (mmap) promises.

    Raises:
        UnfinishedDataError: the file is not an index or ends too early.
    """
    header = struct.calcsize("<9sQBQ")
    size = path.stat().st_size
    with open(path, "rb") as stream:
        raw = stream.read(header)
    if len(raw) < header or not raw.startswith(b"MMIDIDX\x00\x00"):
        raise UnfinishedDataError(f"{path}: not an index of fairseq's mmap format")
    _, _, code, sentences = struct.unpack("<9sQBQ", raw)
    if code not in _DTYPE_BYTES or size != header + sentences * (4 + 8):
        raise UnfinishedDataError(f"{path}: {size} bytes do not hold {sentences} sentences")
    sizes = np.memmap(path, "<i4", "r", offset=header, shape=(sentences,)) if sentences else ()
    tokens = int(np.sum(sizes, dtype=np.int64))
    return sentences, tokens, tokens * _DTYPE_BYTES[code]


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
    counts: dict[str, list[Path]],
    options: dict[str, str],
    inputs: list[dict[str, Any]],
) -> dict[str, Any]:
    """Everything that the file says; raises what `check_split` raises."""
    return {
        "versions": {
            "python": ".".join(map(str, sys.version_info[:2])),
            **{name: metadata.version(name) for name in _PACKAGES},
        },
        "options": options,
        "inputs": inputs,
        "steps": {name: _merged_counts(paths) for name, paths in counts.items()},
        "data": {name: check_split(data_bin / name, text) for name, text in texts.items()},
        "outputs": {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
            for path in sorted(data_bin.iterdir())
            if path.suffix != ".log" and path.name != "manifest.json"
        },
    }


def _merged_counts(paths: list[Path]) -> Any:
    """The counts of a step; those of shards added up, where each must have read the same corpus."""
    read = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    if len(read) == 1 and "shard" not in read[0]:
        return read[0]
    if any(counts["corpus"] != read[0]["corpus"] for counts in read):
        raise UnfinishedDataError(f"{paths[0]} and the other shards have read different corpora")
    names = sorted({name for counts in read for name in counts["shard"]})
    total = {name: sum(counts["shard"].get(name, 0) for counts in read) for name in names}
    return {"corpus": read[0]["corpus"], "cleaned": total}


def read_inputs(hashes: Iterable[str]) -> list[dict[str, Any]]:
    """What lines of `sha256sum` say, and the files' sizes; only the names, whatever the folders."""
    inputs = []
    for line in hashes:
        digest, _, name = line.partition("  ")
        path = Path(name)
        inputs.append({"name": path.name, "bytes": path.stat().st_size, "sha256": digest})
    return inputs


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-bin", required=True, type=Path)
    parser.add_argument("--text", action="append", default=[], metavar="SPLIT=FILE")
    parser.add_argument("--counts", action="append", default=[], metavar="STEP=FILE")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--inputs", type=Path, help="what sha256sum says of the inputs")
    args = parser.parse_args(arguments)
    counts: dict[str, list[Path]] = {}
    for name, value in _pairs(args.counts):
        counts.setdefault(name, []).append(Path(value))
    try:
        hashes = [] if args.inputs is None else args.inputs.read_text("utf-8").splitlines()
        content = manifest(
            args.data_bin,
            texts={name: Path(value) for name, value in _pairs(args.text)},
            counts=counts,
            options=dict(_pairs(args.option)),
            inputs=read_inputs(hashes),
        )
        write_counts(args.data_bin / "manifest.json", content)
    except (UnfinishedDataError, OSError) as error:
        parser.exit(1, f"make_manifest: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
