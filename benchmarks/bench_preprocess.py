"""How many megabytes of text preprocess/ takes in a second, step by step and as a whole.

    python benchmarks/bench_preprocess.py [--text TEXT] [--dump DUMP.xml.bz2] [--megabytes 2]

Times are processor seconds, which other jobs on the machine change less than the clock's; MB are
millions of bytes of UTF-8 that go into the step. The whole is `clean_documents` with all steps,
with one worker and with two: the processor seconds of all its processes, and the wall clock's. BPE
is compared with subword-nmt on the same codes, on different words (so neither's cache of words
helps) and on running text (so both help). Writes tables in Markdown to the standard output.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tupe_plugin.data.read.open_text import read_lines
from tupe_plugin.data.read.read_sources import Reader
from tupe_plugin.data.read.read_wiki_dump import read_articles
from tupe_plugin.data.read.strip_wikitext import strip_wikitext
from tupe_plugin.data.step_chain import Chain
from tupe_plugin.data.text.clean_documents import clean_documents
from tupe_plugin.data.text.drop_duplicates import drop_duplicates
from tupe_plugin.data.text.protected_words import PROTECTED_WORDS
from tupe_plugin.data.text.split_documents import split_documents
from tupe_plugin.data.units.apply_bpe import BytePairEncoder
from tupe_plugin.data.units.learn_bpe import learn_bpe
from tupe_plugin.data.worker_pool import WorkerPool

SHARED = Path(__file__).parents[2] / "shared" / "data"
STEPS = (
    *("filter_paragraphs", "replace_addresses", "clean_punctuation", "normalize_punctuation"),
    *("remove_nonprinting", "segment_sentences", "tokenize_words", "lowercase_text"),
    "merge_short_sentences",
)
MERGES = 10_000


def made_up_text(megabytes: float) -> list[str]:
    """Paragraphs of made-up words, where there is no real text."""
    rng = random.Random(1)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(20_000)]
    lines, size = [], 0
    while size < megabytes * 1e6:
        lines.append(" ".join(rng.choices(words, k=70)).capitalize() + ", “so” it’s.")
        size += len(lines[-1])
    return lines


def bytes_of(lines: list[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def timed(work: Callable[[], object], repeats: int = 3) -> float:
    """Processor seconds, the smallest of some."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def row(name: str, size: float, seconds: float) -> None:
    print(f"| {name} | {size / 1e6 / seconds:.3g} |", flush=True)


def bench_steps(paragraphs: list[str]) -> list[str]:
    """A row for each step on what the step before it gave; returns the cleaned text."""
    texts = [paragraphs]
    for name in STEPS:
        (step,) = Chain(steps=(name,)).build().values()
        step([["Warm up."]], Counter())
        size = sum(map(bytes_of, texts))
        row(name, size, timed(lambda step=step, texts=texts: step(texts, Counter())))
        texts = step(texts, Counter())
    return texts[0]


def bench_bpe(lines: list[str], folder: Path) -> None:
    from subword_nmt.apply_bpe import BPE

    text = folder / "tokens"
    text.write_text("\n".join(lines) + "\n", "utf-8")
    size = text.stat().st_size
    merges = learn_bpe([text], num_merges=MERGES)
    row(
        f"learn_bpe ({len(merges)} merges)",
        size,
        timed(lambda: learn_bpe([text], num_merges=MERGES), 1),
    )
    codes = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges)

    encode = BytePairEncoder(merges)
    seconds = timed(lambda: list(map(BytePairEncoder(merges), lines)))
    row("apply_bpe", size, seconds)
    encoded = [encode(line) for line in lines]
    (step,) = Chain(steps=("split_long_lines",), max_line_tokens=510).build().values()
    row("split_long_lines", bytes_of(encoded), timed(lambda: step([encoded], Counter())))

    # Protecting <url> and the like is a part of our encoder; subword-nmt calls it glossaries.
    print("\nBPE against subword-nmt, same codes, seconds:\n")
    print("| text | ours | subword-nmt | ratio |\n|---|--:|--:|--:|")
    words = sorted({word for line in lines for word in line.split()})
    for name, text_lines in ((f"{len(words)} different words", words), ("running text", lines)):
        ours = timed(lambda text_lines=text_lines: list(map(BytePairEncoder(merges), text_lines)))
        for protected, glossaries in (("protected words", list(PROTECTED_WORDS)), ("none", None)):
            theirs = timed(
                lambda text_lines=text_lines, glossaries=glossaries: list(
                    map(BPE(io.StringIO(codes), glossaries=glossaries).process_line, text_lines)
                ),
                1,
            )
            print(
                f"| {name}, glossaries: {protected} | {ours:.3f} | {theirs:.3f} "
                f"| {theirs / ours:.1f} |",
                flush=True,
            )


def processor_seconds() -> float:
    """Of this process and of those that it has waited for."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def bench_whole(source: Path, size: int, folder: Path) -> None:
    print("\n`clean_documents`, all steps:\n")
    print(
        "| source | workers | MB/s of a processor second | MB/s of wall clock |\n|---|--:|--:|--:|"
    )
    for workers in (1, 2):
        before = processor_seconds()
        start = time.perf_counter()
        with WorkerPool(workers) as pool:
            output = folder / f"whole{workers}"
            clean_documents([source], output, Chain(steps=STEPS), Reader(), pool)
        wall = time.perf_counter() - start
        seconds = processor_seconds() - before
        print(
            f"| {source.name} | {workers} | {size / 1e6 / seconds:.3g} | {size / 1e6 / wall:.3g} |",
            flush=True,
        )
    if (folder / "whole1").read_bytes() != (folder / "whole2").read_bytes():
        raise SystemExit("one worker and two give different text")


def bench_files(folder: Path) -> None:
    shard = folder / "whole1"
    size = shard.stat().st_size
    for unit in ("documents", "lines"):
        row(
            f"drop_duplicates --unit {unit}",
            size,
            timed(lambda unit=unit: drop_duplicates([shard], folder / "text", unit=unit)),
        )
    row(
        "split_documents",
        size,
        timed(
            lambda: split_documents(
                folder / "text",
                folder / "train",
                folder / "valid",
                ratio=0.005,
                block_lines=200,
                seed=1,
            )
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", type=Path, default=SHARED / "corpus" / "eltec_eng.txt.xz")
    parser.add_argument(
        "--dump", type=Path, default=SHARED / "wiki" / "enwiki-pages-articles-sample.xml.bz2"
    )
    parser.add_argument("--megabytes", type=float, default=2.0, help="how much of the text")
    args = parser.parse_args()

    paragraphs: list[str] = []
    if args.text.is_file():
        size = 0
        for line in read_lines(args.text):
            paragraphs.append(line)
            size += len(line.encode()) + 1
            if size > args.megabytes * 1e6:
                break
        paragraphs = [line for line in paragraphs if line]
    else:
        paragraphs = made_up_text(args.megabytes)
    print(f"- {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"- load {os.getloadavg()[0]:.0f} when it began")
    print(
        f"- text: {args.text.name if args.text.is_file() else 'made up'}, "
        f"{bytes_of(paragraphs) / 1e6:.1f} MB\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source.txt"
        source.write_text("\n".join(paragraphs) + "\n", "utf-8")
        print("| step | MB for a processor second |\n|---|--:|")
        if args.dump.is_file():
            counts: Counter[str] = Counter()
            articles = list(read_articles(args.dump, counts))
            wikitext = bytes_of(articles)
            row(
                "read_wiki_dump (bz2 and XML; MB of wikitext)",
                wikitext,
                timed(lambda: list(read_articles(args.dump, Counter()))),
            )
            row(
                "strip_wikitext (MB of wikitext)",
                wikitext,
                timed(lambda: list(map(strip_wikitext, articles)), 1),
            )
            plain = sum(bytes_of(strip_wikitext(article)) for article in articles)
        cleaned = bench_steps(paragraphs)
        bench_bpe(cleaned, folder)
        bench_whole(source, bytes_of(paragraphs), folder)
        print("\n| step | MB for a processor second |\n|---|--:|")
        bench_files(folder)
        if args.dump.is_file():
            print(f"\nThe dump: {wikitext / 1e6:.1f} MB of wikitext, {plain / 1e6:.1f} MB of text.")
            bench_whole(args.dump, plain, folder)


if __name__ == "__main__":
    main()
