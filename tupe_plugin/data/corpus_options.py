"""The options of `tupe data corpus`: what is done to a corpus, and how it is divided."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..core.bounds import COUNT, COUNT_OR_NONE, WORKERS, Number, OneOf, Text
from .language_codes import language_code
from .line_steps import LINE_STEPS
from .option_flags import File, flag_option, switch
from .read.shard import Shard, parse_shard
from .text.filter_paragraphs import Limits
from .unit_options import UnitOptions, Units, UsageError, is_word_step

HIGHEST_SIMILARITY = 0.98
"""Of near-duplicates: above it one band of hashes would be best, and datasketch wants two.

It stands here, because the options are read before it is known whether the libraries are there.
"""
_LIMITS = Limits()
_TEXT, _VALID, _UNITS = "text", "validation text", "units and dictionary"
_MACHINES, _OTHER = "several machines", "other"


@dataclass(frozen=True)
class CleaningOptions(UnitOptions):
    """What the steps of a document need to know."""

    wrapped: str = flag_option(
        "auto",
        OneOf(("auto", "yes", "no")),
        "are the lines of text files wrapped at a fixed width? auto: each part of a file is "
        "judged by itself, and what was found is said",
        group=_TEXT,
    )
    min_letters: int = flag_option(
        _LIMITS.min_letters, COUNT_OR_NONE, "drop paragraphs of fewer letters", group=_TEXT
    )
    min_letter_share: float = flag_option(
        _LIMITS.min_letter_share,
        Number(0, 1),
        "drop paragraphs with a smaller share of letters",
        group=_TEXT,
    )
    any_alphabet: bool = switch(
        "letters of any script count as letters (otherwise: A-Z and a-z)", group=_TEXT
    )
    language: str = flag_option(
        "en",
        Text(language_code, "a language of ISO 639-1"),
        "of the sentences, ISO 639-1",
        group=_TEXT,
    )
    min_sentence_words: int = flag_option(
        5, COUNT_OR_NONE, "join shorter sentences to their neighbours", group=_TEXT
    )


@dataclass(frozen=True)
class CorpusOptions(CleaningOptions):
    """All of them."""

    skip: str = flag_option(
        "",
        Text(str, "names of steps"),
        "leave out steps, of: filter_paragraphs, replace_addresses, clean_punctuation, "
        "normalize_punctuation, remove_nonprinting, segment_sentences, lowercase_text, "
        "merge_short_sentences",
        group=_TEXT,
        metavar="STEP,...",
        recorded=False,  # the steps are
    )
    split_hyphens: bool = switch(
        "light-hearted -> light - hearted, as the original TUPE data has it",
        group=_TEXT,
        recorded=False,  # it is a step
    )
    dedup: str = flag_option(
        "documents", OneOf(("documents", "lines", "none")), "what is kept only once", group=_TEXT
    )
    near_duplicates: float = flag_option(
        0.0,
        Number(0, HIGHEST_SIMILARITY),
        "drop documents that are about so similar to an earlier one, as the share of the runs of "
        "five words that they have in common, by MinHash (0: none; 0.8 is usual)",
        group=_TEXT,
    )
    valid: Path | None = flag_option(
        None, File(), "take it from this file (otherwise: taken out of the sources)", group=_VALID
    )
    valid_ratio: float = flag_option(
        0.005,
        Number(0, 1, open_above=True),
        "share of the documents taken for validation",
        group=_VALID,
    )
    valid_block_lines: int = flag_option(
        200, COUNT, "treat every N lines of a longer document as one", group=_VALID
    )
    seed: int = flag_option(1, COUNT_OR_NONE, "another choice of documents", group=_VALID)
    bpe_merges: int = flag_option(
        32_000, COUNT, "how many BPE merges to learn, where none are given", group=_UNITS
    )
    vocab_size: int = flag_option(
        -1,
        COUNT,
        "keep the N most frequent units, fairseq's --nwordssrc (-1: all)",
        group=_UNITS,
    )
    threshold: int = flag_option(
        0,
        COUNT_OR_NONE,
        "drop units seen less than N times, fairseq's --thresholdsrc",
        group=_UNITS,
    )
    shard: Shard | None = flag_option(
        None,
        Text(parse_shard, "I/N with I from 1 to N"),
        "only clean the I-th of N parts (I from 1), for N jobs side by side",
        group=_MACHINES,
        metavar="I/N",
        recorded=False,
    )
    merge: int | None = flag_option(
        None,
        COUNT,
        "when all N are done: the same command with this goes on with them; the result is the "
        "same, byte for byte, as without shards",
        group=_MACHINES,
        recorded=False,
    )
    executor: str = flag_option(
        "local",
        OneOf(("local", "slurm", "ray")),
        "what cleans the sources: the cores of this machine, jobs of Slurm, or tasks of Ray (on "
        "the cluster that it finds, or on this machine); the result is the same, byte for byte; "
        "slurm and ray need the extra [cluster]",
        group=_MACHINES,
        recorded=False,
    )
    parts: int = flag_option(
        32,
        COUNT,
        "into about how many jobs, of a core each, slurm and ray divide the sources; one that is "
        "done is kept",
        group=_MACHINES,
        recorded=False,
    )
    max_line_tokens: int = flag_option(
        510,
        COUNT,
        "cut lines of more than N units at a sentence end (510 fits --tokens-per-sample 512 with "
        "--sample-break-mode complete)",
        group=_OTHER,
    )
    workers: int = flag_option(0, WORKERS, "processes (0: all cores)", group=_OTHER, recorded=False)


def limits_of(options: CleaningOptions) -> Limits:
    """What `filter_paragraphs` drops."""
    return Limits(
        min_letters=options.min_letters,
        min_letter_share=options.min_letter_share,
        ascii_letters=not options.any_alphabet,
    )


def is_wrapped(options: CleaningOptions) -> bool | None:
    """Whether the lines of text files are wrapped; None: each part of a file is judged."""
    return {"auto": None, "yes": True, "no": False}[options.wrapped]


def check_corpus(options: CorpusOptions, sources: list[Path], output: Path) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: the message says what to give.
    """
    if not sources:
        raise UsageError("give at least one SOURCE and OUT_DIR")
    if os.path.lexists(output) and not output.is_dir():
        raise UsageError(f"OUT_DIR must be a folder, but {output} is a file")
    if options.shard and options.merge:
        raise UsageError("give --shard or --merge, not both")
    if options.executor != "local" and (options.shard or options.merge):
        raise UsageError(f"--executor {options.executor} divides by itself: no --shard, no --merge")


def document_steps(options: CorpusOptions, units: Units) -> tuple[str, ...]:
    """The steps of a document's text, in order, without those that are skipped.

    Raises:
        UsageError: one of --skip cannot be left out; --split-hyphens cannot be done.
    """
    lines = list(units.line_steps)
    words = next((n for n, step in enumerate(lines) if is_word_step(step)), len(lines))
    text, words_on = lines[:words], lines[words:]
    if options.split_hyphens:
        if options.data_bin or not units.tokenizer.startswith(("moses", "perl")):
            raise UsageError("--split-hyphens is for --tokenizer moses and perl")
        text.append("split_hyphens")
    # GPT-2's units hold the spaces before them, so sentences are joined while they are text.
    gpt2 = units.tokenizer == "gpt2"
    merge = ["merge_short_sentences"]
    steps = [
        *("filter_paragraphs", *text, "segment_sentences"),
        *((*merge, *words_on) if gpt2 else (*words_on, *merge)),
    ]
    for skipped in options.skip.split(",") if options.skip else ():
        found = [step for step in steps if skipped in (step, step.removeprefix("perl_"))]
        if not found or is_word_step(found[0]):
            raise UsageError(f"--skip: '{skipped}' cannot be left out; those that can: see --help")
        steps.remove(found[0])
    return tuple(steps)


def line_steps_of(steps: Iterable[str]) -> tuple[str, ...]:
    """What another sentence must go through to look the same."""
    return tuple(step for step in steps if step in LINE_STEPS)
