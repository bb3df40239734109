"""Take a corpus in, clean it document by document, on all cores, in order, in constant memory.

Every document of the shard ends with an empty line in the output, also one of which nothing was
left: so the n shards' outputs, a document from each in turn, are the whole (`drop_duplicates`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from mwparserfromhell.parser import ParserError

from ..chain_blocks import BLOCK_CHARACTERS, blocks_of, map_blocks, progress_in_bytes
from ..read.read_sources import Passage, Reader
from ..read.strip_wikitext import strip_wikitext
from ..step_chain import DOCUMENT_STEPS, Chain, Step
from ..worker_pool import WorkerPool


def blocks_of_passages(passages: Iterable[Passage], *, characters: int) -> Iterator[list[Passage]]:
    """Consecutive passages, together about `characters` long."""
    return blocks_of(passages, lambda passage: sum(map(len, passage.lines)), size=characters)


def clean_block(steps: dict[str, Step], block: list[Passage], counts: Counter[str]) -> str:
    """The block's text after all steps, as it is written; an empty line ends a document.

    Counts for each step the lines that it gave and, where it keeps their number, those it changed.
    """
    texts = [_paragraphs(passage, counts) for passage in block]
    counts["paragraphs"] += sum(map(len, texts))
    for name, step in steps.items():
        before, texts = texts, step(texts, counts)
        counts[f"{name}: lines"] += sum(map(len, texts))
        if name not in DOCUMENT_STEPS:
            counts[f"{name}: lines changed"] += sum(
                old != new
                for lines, mapped in zip(before, texts, strict=True)
                for old, new in zip(lines, mapped, strict=True)
            )
    written = [[line for line in lines if line] for lines in texts]
    counts["lines"] += sum(map(len, written))
    return "".join(
        "".join([line + "\n" for line in lines]) + ("\n" if passage.ends_document else "")
        for lines, passage in zip(written, block, strict=True)
    )


def _paragraphs(passage: Passage, counts: Counter[str]) -> list[str]:
    if not passage.is_wikitext:
        return passage.lines
    try:
        return strip_wikitext(passage.lines[0])
    except (ParserError, RecursionError):  # nested beyond reason; one page of millions
        counts["pages that cannot be parsed"] += 1
        return []


def clean_documents(
    paths: list[Path], output: Path, chain: Chain, reader: Reader, pool: WorkerPool
) -> Counter[str]:
    """Write the cleaned documents of the reader's shard; returns what was counted in them."""
    counts: Counter[str] = Counter()
    with (
        progress_in_bytes(paths, output) as progress,
        open(output, "w", encoding="utf-8", newline="\n") as sink,
    ):
        reader.on_progress = progress.update
        blocks = blocks_of_passages(reader.read(paths), characters=BLOCK_CHARACTERS)
        for text in map_blocks(pool, chain, clean_block, blocks, counts):
            sink.write(text)
    return counts
