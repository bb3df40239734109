"""Take a corpus in, clean it document by document, on all cores, in order, in constant memory.

    python -m tupe_plugin.data.text.clean_documents --steps filter_paragraphs,tokenize_words \\
        --output clean.txt --counts counts.json [--shard 3/8] SOURCE...

Every document of the shard ends with an empty line in the output, also one of which nothing was
left: so the n shards' outputs, a document from each in turn, are the whole (`drop_duplicates`).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from mwparserfromhell.parser import ParserError

from ...core.bounds import COUNT_OR_NONE, WORKERS, Number
from ..chain_blocks import BLOCK_CHARACTERS, blocks_of, map_blocks, progress_in_bytes
from ..read.read_sources import Passage, Reader, Shard, find_sources
from ..read.strip_wikitext import strip_wikitext
from ..step_chain import STEPS, Chain, Step
from ..worker_pool import WorkerPool, all_cores
from ..write.write_counts import write_counts
from .filter_paragraphs import Limits
from .map_lines import MISTAKES


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
        if name not in ("filter_paragraphs", "segment_sentences", "merge_short_sentences"):
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
    paths: list[Path], output: Path, chain: Chain, reader: Reader, *, workers: int
) -> Counter[str]:
    """Write the cleaned documents of the reader's shard; returns what was counted in them.

    Raises:
        ValueError: nothing is left of the whole corpus.
    """
    counts: Counter[str] = Counter()
    with (
        progress_in_bytes(paths, output) as progress,
        WorkerPool(workers) as pool,
        open(output, "w", encoding="utf-8", newline="\n") as sink,
    ):
        reader.on_progress = progress.update
        blocks = blocks_of_passages(reader.read(paths), characters=BLOCK_CHARACTERS)
        for text in map_blocks(pool, chain, clean_block, blocks, counts):
            sink.write(text)
    if not counts["lines"] and reader.shard.of == 1:
        raise ValueError(
            f"nothing is left of {', '.join(path.name for path in paths[:3])}: "
            f"{reader.counts['documents']} documents, {counts['paragraphs']} paragraphs, all "
            f"dropped; see --skip filter_paragraphs"
        )
    return counts


def parse_shard(text: str) -> Shard:
    """`3/8` -> the third shard of eight.

    Raises:
        ValueError: not of this form, or not from 1 to 8.
    """
    number, slash, of = text.partition("/")
    if not (slash and number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise ValueError(f"--shard must be i/n with i from 1 to n, such as 3/8, not {text!r}")
    return Shard(int(number), int(of))


def _parse(arguments: list[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    limits = Limits()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="SOURCE",
        help="text, MediaWiki dump (.xml), folder; also .gz, .bz2, .xz, .zst",
    )
    parser.add_argument(
        "--steps", required=True, help=f"in order, separated by commas: {', '.join(STEPS)}"
    )
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--counts", type=Path, help="write what was counted into this file (JSON)")
    parser.add_argument("--shard", default="1/1", help="i/n: every n-th document, from the i-th on")
    parser.add_argument("--wrapped", choices=["auto", "yes", "no"], default="auto")
    parser.add_argument("--language", default="en", help="of segment_sentences (ISO 639-1)")
    parser.add_argument("--min-letters", type=COUNT_OR_NONE, default=limits.min_letters)
    parser.add_argument("--min-letter-share", type=Number(0, 1), default=limits.min_letter_share)
    parser.add_argument("--any-alphabet", action="store_true", help="letters of any script count")
    parser.add_argument("--min-sentence-words", type=COUNT_OR_NONE, default=5)
    parser.add_argument("--vocab", type=Path, help="BERT vocab.txt for the step apply_wordpiece")
    parser.add_argument("--cased", action="store_true", help="apply_wordpiece keeps case, accents")
    parser.add_argument("--workers", type=WORKERS, default=0, help="processes (default: all cores)")
    return parser, parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    parser, args = _parse(arguments)

    def note(text: str) -> None:
        sys.stderr.write(text + "\n")

    try:
        chain = Chain(
            steps=tuple(args.steps.split(",")),
            vocab=args.vocab,
            cased=args.cased,
            language=args.language,
            min_sentence_words=args.min_sentence_words,
            limits=Limits(
                min_letters=args.min_letters,
                min_letter_share=args.min_letter_share,
                ascii_letters=not args.any_alphabet,
            ),
        )
        chain.build()
        reader = Reader(
            shard=parse_shard(args.shard),
            wrapped={"auto": None, "yes": True, "no": False}[args.wrapped],
            on_note=note,
        )
        paths = find_sources(args.paths, on_note=note)
        counts = clean_documents(
            paths, args.output, chain, reader, workers=args.workers or all_cores()
        )
        if args.counts is not None:
            write_counts(args.counts, {"corpus": reader.counts, "shard": counts})
    except MISTAKES as error:
        parser.exit(1, f"clean_documents: {error}\n")
    except BrokenProcessPool:
        parser.exit(
            1, "clean_documents: a worker process was killed; out of memory? try --workers 1\n"
        )
    except KeyboardInterrupt:
        return 130
    for name, count in [*reader.counts.items(), *counts.items()]:
        note(f"  {count:>12,} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
