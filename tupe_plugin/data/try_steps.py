"""`tupe data try`: some steps by name, on some text, to look at what they do."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .corpus_options import CleaningOptions, is_wrapped, limits_of
from .input_files import check_sources
from .line_steps import UnitFiles
from .read.read_sources import Reader, find_sources
from .step_chain import Chain
from .text.clean_documents import clean_block


def try_steps(options: CleaningOptions, steps: Sequence[str], sources: Sequence[Path]) -> None:
    """Print the documents after the steps, with an empty line after each.

    Raises:
        InputError: a source is not there.
        ValueError: a step that does not exist, or lacks what it needs.
    """
    check_sources(sources)
    chain = Chain(
        steps=tuple(steps),
        files=UnitFiles(options.bpe_codes, options.vocab, options.cased),
        language=options.language,
        min_sentence_words=options.min_sentence_words,
        limits=limits_of(options),
    ).build()
    reader = Reader(wrapped=is_wrapped(options), on_note=lambda text: sys.stderr.write(text + "\n"))
    for passage in reader.read(find_sources(sources)):
        sys.stdout.write(clean_block(chain, [passage], Counter()))
