"""Divide tokenised text into training and validation text, by whole documents, reproducibly.

A document ends at an empty line; one of more than `block_lines` lines (a book) counts as several.
A block goes to validation where a hash of its text and the seed falls below the ratio: the choice
depends on nothing but the text, so equal documents are never on both sides, and neither the order
of the corpus nor what else is in it changes the choice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Block:
    """Consecutive non-empty lines of one document, without newlines."""

    lines: list[str]
    begins_document: bool


def blocks_of_documents(lines: Iterable[str], *, block_lines: int) -> Iterator[Block]:
    """Whole documents, or pieces of `block_lines` lines of those that are longer."""
    block = Block([], begins_document=True)
    for line in lines:
        if line:
            block.lines.append(line)
        if block.lines and (not line or len(block.lines) == block_lines):
            yield block
            block = Block([], begins_document=not line)
        elif not line:
            block.begins_document = True
    if block.lines:
        yield block


def position_of(block: Block, *, seed: int) -> float:
    """A number in [0, 1) that depends on the block's text and the seed only."""
    digest = hashlib.blake2b("\n".join([str(seed), *block.lines]).encode("utf-8"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") / 2**64


def _read(path: Path, block_lines: int) -> Iterator[Block]:
    with open(path, encoding="utf-8", newline="\n") as lines:
        yield from blocks_of_documents(
            (line.rstrip("\n") for line in lines), block_lines=block_lines
        )


def split_documents(
    text: Path, train: Path, valid: Path, *, ratio: float, block_lines: int, seed: int
) -> tuple[int, int]:
    """Write `train` and `valid`, with an empty line wherever the text does not simply go on.

    Where no block falls below the ratio, the one with the smallest number is for validation.

    Returns:
        The numbers of blocks for training and for validation.

    Raises:
        ValueError: there are fewer than two blocks.
    """
    smallest = min((position_of(b, seed=seed) for b in _read(text, block_lines)), default=1.0)
    limit = max(ratio, smallest * (1 + 1e-9))
    counts = {train: 0, valid: 0}
    with (
        open(train, "w", encoding="utf-8", newline="\n") as train_sink,
        open(valid, "w", encoding="utf-8", newline="\n") as valid_sink,
    ):
        sinks = {train: train_sink, valid: valid_sink}
        last_side = None
        for block in _read(text, block_lines):
            side = valid if position_of(block, seed=seed) < limit else train
            goes_on = side == last_side and not block.begins_document
            separator = "" if goes_on or not counts[side] else "\n"
            sinks[side].write(separator + "\n".join(block.lines) + "\n")
            counts[side] += 1
            last_side = side
    if not all(counts.values()):
        raise ValueError(
            f"{text}: {counts[train]} training and {counts[valid]} validation blocks: too short "
            f"to be divided; take a smaller --valid-block-lines, another --valid-ratio, or give "
            f"the validation text by --valid"
        )
    return counts[train], counts[valid]
