"""Divide a corpus into parts that jobs on other machines clean, each a folder of its own.

A part is some whole files, or every n-th document of one large file. Parts of the same files are a
group: a document from each in turn gives the files' own order back. Groups follow one another. So
what is joined is the corpus in its order, whatever the number of parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .read.shard import Shard

# Each share of a file reads all of it, and a compressed dump is read about 15 times as fast as it
# is cleaned.
_MOST_SHARES_OF_A_FILE = 16


@dataclass(frozen=True)
class Part:
    """What one job cleans; `name` is that of its folder."""

    name: str
    files: tuple[Path, ...]
    shard: Shard


Group = list[Part]


def parts_of(files: Sequence[Path], *, number: int) -> list[Group]:
    """About `number` parts of about equal size, from sizes on the disk."""
    sizes = [path.stat().st_size for path in files]
    share = max(1, sum(sizes) / number)
    groups: list[Group] = []
    small: list[Path] = []
    so_far = 0
    for path, size in zip(files, sizes, strict=True):
        shares = min(round(size / share), _MOST_SHARES_OF_A_FILE)
        if small and (shares > 1 or so_far + size / 2 > share):
            groups.append(_group(len(groups), small, 1))
            small, so_far = [], 0
        if shares > 1:
            groups.append(_group(len(groups), [path], shares))
        else:
            small.append(path)
            so_far += size
    if small:
        groups.append(_group(len(groups), small, 1))
    return groups


def _group(number: int, files: Sequence[Path], shares: int) -> Group:
    name = f"clean-part-{number + 1}"
    if shares == 1:
        return [Part(name, tuple(files), Shard())]
    shards = [Shard(n, shares) for n in range(1, shares + 1)]
    return [
        Part(f"{name}-share-{shard.number}-of-{shard.of}", tuple(files), shard) for shard in shards
    ]
