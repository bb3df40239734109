"""How many megabytes of text `tupe data` takes in a second: step by step, whole, and beside others.

    python benchmarks/bench_preprocess.py [--text TEXT] [--dump DUMP.xml.bz2]
        [--megabytes 2] [--whole-megabytes 2]

Times are processor seconds, of all processes together: other jobs on the machine change them less
than the clock's. MB are millions of bytes of UTF-8 that go into the step. Writes tables in Markdown
to the standard output. The other tools are `preprocess_tools.py`'s.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import platform
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.measurement import commit, cost_of, device_name
from benchmarks.preprocess_tools import MERGES, compare
from tupe_plugin.data.dictionary_file import write_dictionary
from tupe_plugin.data.read.open_text import read_lines
from tupe_plugin.data.read.read_wiki_dump import read_articles
from tupe_plugin.data.read.strip_wikitext import strip_wikitext
from tupe_plugin.data.step_chain import Chain
from tupe_plugin.data.text.drop_duplicates import drop_duplicates
from tupe_plugin.data.text.split_documents import split_documents
from tupe_plugin.data.units.apply_bpe import BytePairEncoder
from tupe_plugin.data.units.learn_bpe import learn_bpe
from tupe_plugin.data.worker_pool import WorkerPool
from tupe_plugin.data.write.binarize import binarize
from tupe_plugin.data.write.build_dictionary import build_dictionary, count_units

SHARED = Path(__file__).parents[2] / "shared" / "data"
STEPS = (
    *("filter_paragraphs", "replace_addresses", "clean_punctuation", "normalize_punctuation"),
    *("remove_nonprinting", "segment_sentences", "tokenize_words", "lowercase_text"),
    "merge_short_sentences",
)


def made_up_text(megabytes: float) -> list[str]:
    """Paragraphs of made-up words, where there is no real text."""
    rng = random.Random(1)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(20_000)]
    lines, size = [], 0
    while size < megabytes * 1e6:
        lines.append(" ".join(rng.choices(words, k=70)).capitalize() + ", “so” it’s.")
        size += len(lines[-1])
    return lines


def paragraphs_of(text: Path, megabytes: float) -> list[str]:
    """The beginning of a text, or a made-up one where there is none."""
    if not text.is_file():
        return made_up_text(megabytes)
    paragraphs, size = [], 0
    for line in read_lines(text):
        paragraphs.append(line)
        size += len(line.encode()) + 1
        if size > megabytes * 1e6:
            break
    return paragraphs


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


def bench_text(paragraphs: list[str]) -> list[str]:
    """A row for each step on what the step before it gave; returns the cleaned text."""
    texts = [paragraphs]
    for name in STEPS:
        (step,) = Chain(steps=(name,)).build().values()
        step([["Warm up."]], Counter())
        size = sum(map(bytes_of, texts))
        # The first time, as in a corpus: a step that remembers words would do the second sooner.
        row(name, size, timed(lambda step=step, texts=texts: step(texts, Counter()), 1))
        texts = step(texts, Counter())
    return texts[0]


def bench_files(lines: list[str], folder: Path) -> None:
    """A row for each step from cleaned text to what fairseq reads, on what that before it gave."""
    text, units, dictionary = folder / "tokens", folder / "units", folder / "dict.txt"
    text.write_text("\n".join(lines) + "\n\n", "utf-8")
    size, one = text.stat().st_size, WorkerPool(1)
    joined, train, valid = folder / "text", folder / "train", folder / "valid"
    for unit in ("documents", "lines"):
        work = timed(lambda unit=unit: drop_duplicates([[text]], joined, unit=unit))
        row(f"drop_duplicates, of {unit}", size, work)
    choice = {"ratio": 0.005, "block_lines": 200, "seed": 1}
    row("split_documents", size, timed(lambda: split_documents(joined, train, valid, **choice)))
    start = time.process_time()
    merges = learn_bpe([text], num_merges=MERGES)
    row(f"learn_bpe ({len(merges)} merges)", size, time.process_time() - start)
    row("apply_bpe", size, timed(lambda: list(map(BytePairEncoder(merges), lines))))
    encoded = list(map(BytePairEncoder(merges), lines))
    (step,) = Chain(steps=("split_long_lines",), max_line_tokens=510).build().values()
    row("split_long_lines", bytes_of(encoded), timed(lambda: step([encoded], Counter())))
    units.write_text("\n".join(encoded) + "\n", "utf-8")
    size = units.stat().st_size
    row("count_units", size, timed(lambda: count_units([units], one)))
    write_dictionary(build_dictionary(count_units([units], one)), dictionary)
    row("binarize", size, timed(lambda: binarize(units, dictionary, folder / "bin", one)))


def bench_dump(dump: Path) -> int:
    """The steps of a dump; returns the bytes of its text."""
    articles = list(read_articles(dump, Counter()))
    size = bytes_of(articles)
    seconds = timed(lambda: list(read_articles(dump, Counter())))
    row("read_wiki_dump (bz2 and XML; MB of wikitext)", size, seconds)
    seconds = timed(lambda: list(map(strip_wikitext, articles)), 1)
    row("strip_wikitext (MB of wikitext)", size, seconds)
    return sum(bytes_of(strip_wikitext(article)) for article in articles)


def bench_whole(source: Path, size: int, folder: Path) -> None:
    made = []
    for workers in (1, 2):
        out = folder / f"{source.name}-{workers}"
        made.append(out / "data-bin")
        command = ("-m", "tupe_plugin", "data", "corpus", "--workers", workers, source, out)
        cost = cost_of(*command)
        megabytes = size / 1e6
        rates = f"{megabytes / cost.cpu_seconds:.3g} | {megabytes / cost.seconds:.3g}"
        peak = f"{cost.peak_bytes / 2**20:.0f}"
        print(f"| {source.name}, {megabytes:.1f} MB | {workers} | {rates} | {peak} |", flush=True)
    for name in ("dict.txt", "train.bin", "train.idx", "valid.bin", "valid.idx"):
        if not filecmp.cmp(made[0] / name, made[1] / name, shallow=False):
            raise SystemExit(f"one worker and two give different {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", type=Path, default=SHARED / "corpus" / "eltec_eng.txt.xz")
    parser.add_argument(
        "--dump", type=Path, default=SHARED / "wiki" / "enwiki-pages-articles-sample.xml.bz2"
    )
    parser.add_argument("--megabytes", type=float, default=2.0, help="of the text, for the steps")
    parser.add_argument(
        "--whole-megabytes", type=float, default=2.0, help="of the text, for the whole"
    )
    args = parser.parse_args()

    paragraphs = [line for line in paragraphs_of(args.text, args.megabytes) if line]
    print(f"- {device_name('cpu')}, Python {platform.python_version()}")
    print(f"- commit {commit('tupe_plugin', 'benchmarks')}; load {os.getloadavg()[0]:.1f}")
    name = args.text.name if args.text.is_file() else "made up"
    print(f"- text: {name}, {bytes_of(paragraphs) / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        print("\n| step | MB for a processor second |\n|---|--:|")
        of_dump = bench_dump(args.dump) if args.dump.is_file() else 0
        bench_files(bench_text(paragraphs), folder)
        print(
            "\n`tupe data corpus`, from the source to data-bin:\n\n"
            "| source | workers | MB for a processor second | MB for a second of the clock "
            "| most memory of a process, MiB |\n|---|--:|--:|--:|--:|"
        )
        whole = folder / "novels.txt"
        whole.write_text("\n".join(paragraphs_of(args.text, args.whole_megabytes)) + "\n", "utf-8")
        bench_whole(whole, whole.stat().st_size, folder)
        if of_dump:
            bench_whole(args.dump, of_dump, folder)
        print(
            "\nEach step as a program of its own, from its start to its end, processor seconds:\n\n"
            "| step | ours | the tool | | ratio |\n|---|--:|---|--:|--:|"
        )
        source = folder / "source.txt"
        source.write_text("\n".join(paragraphs) + "\n", "utf-8")
        for step, ours, tool, theirs in compare(source, folder):
            print(f"| {step} | {ours:.2f} | {tool} | {theirs:.2f} | {theirs / ours:.1f} |")


if __name__ == "__main__":
    main()
