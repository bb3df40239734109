"""Run a chain of steps on all cores: blocks of passages out, the same blocks back, in order."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tqdm import tqdm

from .step_chain import Chain, Step
from .worker_pool import WorkerPool

BLOCK_CHARACTERS = 200_000  # enough work for a worker that sending it costs nothing

# What a worker does with a block. A function of a module, so that it can be sent.
BlockFunction = Callable[[dict[str, Step], Any, Counter[str]], Any]

Item = TypeVar("Item")


def blocks_of(
    items: Iterable[Item], size_of: Callable[[Item], int], *, size: int
) -> Iterator[list[Item]]:
    """Consecutive items in blocks that are together about ``size`` large."""
    block: list[Item] = []
    so_far = 0
    for item in items:
        block.append(item)
        so_far += size_of(item)
        if so_far >= size:
            yield block
            block, so_far = [], 0
    if block:
        yield block


def progress_in_bytes(paths: Iterable[Path], output: Path) -> tqdm[NoReturn]:
    """A progress bar over files that are read into one; in a log, a line now and then."""
    return tqdm(
        total=sum(path.stat().st_size for path in paths),
        unit="B",
        unit_scale=True,
        desc=output.name,
        mininterval=0.5 if sys.stderr.isatty() else 10,
    )


def map_blocks(
    pool: WorkerPool,
    chain: Chain,
    function: BlockFunction,
    blocks: Iterable[Any],
    counts: Counter[str],
) -> Iterator[Any]:
    """Yield `function(steps, block, counts)` for each block, in order; few are in memory."""
    for result, more in pool.map(_OfChain(chain, function), blocks):
        counts.update(more)
        yield result


@dataclass(frozen=True)
class _OfChain:
    chain: Chain
    function: BlockFunction

    def build(self) -> Callable[[Any], tuple[Any, Counter[str]]]:
        steps = self.chain.build()

        def counted(block: Any) -> tuple[Any, Counter[str]]:
            counts: Counter[str] = Counter()
            return self.function(steps, block, counts), counts

        return counted
