"""Run a text file through a chain of line steps, on all cores, in order, in constant memory.

One line in, one line out: so GLUE's rows stay rows. Documents are `clean_documents`' business.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..chain_blocks import BLOCK_CHARACTERS, blocks_of, map_blocks, progress_in_bytes
from ..read.open_text import read_lines
from ..step_chain import Chain, Step
from ..worker_pool import WorkerPool


def blocks_of_lines(lines: Iterable[str], *, characters: int) -> Iterator[list[str]]:
    """Consecutive lines, together about `characters` long."""
    return blocks_of(lines, lambda line: len(line) + 1, size=characters)


def map_block(steps: dict[str, Step], block: list[str]) -> list[str]:
    """The block's lines after all steps."""
    lines = block
    for step in steps.values():
        (lines,) = step([lines], Counter())  # line steps count nothing
    return lines


def _map_block(steps: dict[str, Step], block: list[str], counts: Counter[str]) -> list[str]:
    return map_block(steps, block)


def map_lines(lines: Iterable[str], chain: Chain, pool: WorkerPool) -> Iterator[list[str]]:
    """Yield the lines after the chain, in order, in blocks; few blocks are in memory."""
    blocks = blocks_of_lines(lines, characters=BLOCK_CHARACTERS)
    return map_blocks(pool, chain, _map_block, blocks, Counter())


def map_file(path: Path, output: Path, chain: Chain, pool: WorkerPool) -> dict[str, int]:
    """Run a file into `output`, with a progress bar and a line that says how many lines it had.

    Returns:
        The numbers of lines read and written, by what a manifest calls them.
    """
    lines_in = lines_out = 0

    def lines() -> Iterator[str]:
        nonlocal lines_in
        for line in read_lines(path, on_progress=progress.update):
            lines_in += 1
            yield line

    with (
        progress_in_bytes([path], output) as progress,
        open(output, "w", encoding="utf-8", newline="\n") as sink,
    ):
        for block in map_lines(lines(), chain, pool):
            sink.writelines(line + "\n" for line in block)
            lines_out += sum(line.count("\n") + 1 for line in block)
    sys.stderr.write(
        f"{output.name}: {lines_in} lines read, {lines_out} written, empty lines included\n"
    )
    return {"lines read": lines_in, "lines written": lines_out}
