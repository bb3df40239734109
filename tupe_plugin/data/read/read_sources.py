"""Read a corpus as passages: MediaWiki dumps, text files, folders of them, plain or compressed.

A document is a page of a dump; in a text file what stands between empty lines, or, where its lines
are wrapped at a fixed width, the whole file or the part of it where they are. A passage is a
document or, of a long one, a piece of it, cut by its own length alone: so the passages of a
document are the same in any corpus, in any shard and with any number of workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from .join_wrapped_lines import join_wrapped_lines
from .open_text import COMPRESSED_SUFFIXES, read_lines
from .read_wiki_dump import read_articles
from .shard import Shard
from .wrapped_regions import wrapped_regions

PASSAGE_CHARACTERS = 50_000
_SUFFIXES_IN_FOLDERS = (".txt", ".xml")


@dataclass(frozen=True)
class Passage:
    """Consecutive paragraphs of one document, or the wikitext of one page as the only line."""

    lines: list[str]
    is_wikitext: bool
    ends_document: bool


@dataclass
class Reader:
    """Reads the passages of one shard; `counts` are those of the whole corpus.

    `wrapped`: whether the text files' lines are wrapped; None: each region of a file is judged
    by itself. `workers`: as in `open_decompressed`.
    """

    shard: Shard = field(default_factory=Shard)
    wrapped: bool | None = None
    workers: int = 1
    counts: Counter[str] = field(default_factory=Counter)
    on_progress: Callable[[int], object] = lambda _: None
    on_note: Callable[[str], object] = lambda _: None

    def read(self, paths: Iterable[Path]) -> Iterator[Passage]:
        """Yield the passages of the shard, in order.

        Raises:
            UnreadableTextError: a file is damaged or ends too early.
        """
        for path in paths:
            self.counts["files"] += 1
            yield from self._read_dump(path) if is_dump(path) else self._read_text(path)

    def _read_dump(self, path: Path) -> Iterator[Passage]:
        for wikitext in read_articles(
            path, self.counts, workers=self.workers, on_progress=self.on_progress
        ):
            if self.shard.has(self.counts["documents"]):
                yield Passage([wikitext], is_wikitext=True, ends_document=True)
            self.counts["documents"] += 1

    def _read_text(self, path: Path) -> Iterator[Passage]:
        lines = read_lines(
            path,
            workers=self.workers,
            on_progress=self.on_progress,
            on_invalid=self._count_invalid,
        )
        given = self.wrapped
        regions = wrapped_regions(lines) if given is None else ((given, [line]) for line in lines)
        found = Counter[bool]()  # lines, by whether they are wrapped
        for wrapped, pieces in groupby(regions, key=itemgetter(0)):
            if wrapped and not found[True]:
                self.counts["files with wrapped lines"] += 1
            yield from self._read_region(_lines_of(pieces, found), wrapped=wrapped)
        if given is None and found[True]:
            self.on_note(f"{path.name}: {_share_said(found)}")

    def _read_region(self, lines: Iterable[str], *, wrapped: bool) -> Iterator[Passage]:
        if wrapped:
            lines = join_wrapped_lines(lines)
        for passage in passages_of(lines, characters=PASSAGE_CHARACTERS):
            if self.shard.has(self.counts["documents"]):
                yield passage
            self.counts["documents"] += passage.ends_document

    def _count_invalid(self, dropped_bytes: int) -> None:
        self.counts["lines with invalid UTF-8"] += 1
        self.counts["bytes of invalid UTF-8 dropped"] += dropped_bytes


def _lines_of(pieces: Iterable[tuple[bool, list[str]]], found: Counter[bool]) -> Iterator[str]:
    for wrapped, piece in pieces:
        found[wrapped] += len(piece)
        yield from piece


def _share_said(found: Counter[bool]) -> str:
    if not found[False]:
        return "the lines are wrapped; joined, the file is a document"
    share = found[True] / found.total()
    return f"{share:.1%} of the lines are wrapped; joined, each such part is a document"


def passages_of(lines: Iterable[str], *, characters: int) -> Iterator[Passage]:
    """Documents, separated by empty lines, in pieces of about `characters` characters."""
    passage: list[str] = []
    size = 0
    for line in lines:
        if not line or line.isspace():
            if passage:
                yield Passage(passage, is_wikitext=False, ends_document=True)
                passage, size = [], 0
            continue
        if size >= characters:
            # Not before there is a next line: the last piece must be able to end the document.
            yield Passage(passage, is_wikitext=False, ends_document=False)
            passage, size = [], 0
        passage.append(line)
        size += len(line)
    if passage:
        yield Passage(passage, is_wikitext=False, ends_document=True)


def is_dump(path: Path) -> bool:
    """Whether the name is that of a MediaWiki dump: `.xml`, or that and a compressed suffix."""
    return _inner_suffix(path) == ".xml"


def _inner_suffix(path: Path) -> str:
    return Path(path.stem).suffix if path.suffix in COMPRESSED_SUFFIXES else path.suffix


def find_sources(
    given: Iterable[Path], *, on_note: Callable[[str], object] = lambda _: None
) -> list[Path]:
    """The files that are given and, sorted by their paths, those in the folders that are given.

    Raises:
        ValueError: a folder has no text file.
    """
    found: list[Path] = []
    for path in given:
        if not path.is_dir():
            found.append(path)
            continue
        files = sorted(file for file in path.rglob("*") if file.is_file())
        texts = [file for file in files if _inner_suffix(file) in _SUFFIXES_IN_FOLDERS]
        if not texts:
            raise ValueError(f"{path}: no .txt or .xml file (nor .gz, .bz2, .xz, .zst of one)")
        if len(texts) < len(files):
            on_note(f"{path}: {len(texts)} text files; {len(files) - len(texts)} others left out")
        found += texts
    return found
