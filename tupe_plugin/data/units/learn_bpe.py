"""Learn byte-pair-encoding merges from tokenised text and write them as a "codes" file.

Learned by Hugging Face `tokenizers` (Rust, all cores), written in the format of subword-nmt 0.2.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from ..interruptible import in_a_thread
from ..text.protected_words import PROTECTED_WORDS
from .apply_bpe import END_OF_WORD

_PROTECTED = re.compile(rf"(?<!\S)(?:{'|'.join(PROTECTED_WORDS)})(?!\S)")
_PIECE = 1 << 16  # characters
_MIN_FREQUENCY = 2  # subword-nmt's: a pair seen once is not worth a unit


def learn_bpe(paths: list[Path], *, num_merges: int) -> list[tuple[str, str]]:
    """At most `num_merges` merges, most frequent first; fewer where the text has no more."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    characters = list(_characters(paths))
    trainer = trainers.BpeTrainer(
        # The trainer counts units, we count merges: give it room for every character, both in
        # the middle and at the end of a word, and cut the list afterwards.
        vocab_size=num_merges + 2 * len(characters),
        min_frequency=_MIN_FREQUENCY,
        # Ties between pairs are broken by the units' numbers; naming every unit beforehand makes
        # the result the same in every run.
        special_tokens=characters + [character + END_OF_WORD for character in characters],
        end_of_word_suffix=END_OF_WORD,
        show_progress=sys.stderr.isatty(),
    )
    unprotected = (_PROTECTED.sub("", text) if "<" in text else text for text in _texts(paths))
    tokenizer.train_from_iterator(unprotected, trainer)
    return _merges(tokenizer)[:num_merges]


def _characters(paths: list[Path]) -> Iterator[str]:
    """Those of the texts but for spaces, in the order of their code points."""
    seen = np.zeros(sys.maxunicode + 1, bool)
    for text in _texts(paths):
        seen[np.frombuffer(text.encode("utf-32-le"), np.uint32)] = True
    characters = map(chr, np.flatnonzero(seen))
    return (character for character in characters if not character.isspace())


def _texts(paths: list[Path]) -> Iterator[str]:
    """The files in pieces of some lines."""
    for path in paths:
        with open(path, encoding="utf-8", newline="\n") as file:
            while lines := file.readlines(_PIECE):
                yield "".join(lines)


def _merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    pairs = json.loads(tokenizer.to_str())["model"]["merges"]
    return [(left, right) for left, right in pairs]


def write_codes(text: Path, codes: Path, *, num_merges: int) -> None:
    """Learn merges and write them; how many is said on standard error.

    Raises:
        ValueError: there is no merge to learn.
        OSError: a file cannot be read or written.
    """
    merges = in_a_thread(lambda: learn_bpe([text], num_merges=num_merges))
    if not merges:
        raise ValueError(f"{text}: no pair of letters occurs twice")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    codes.write_text("\n".join(lines) + "\n", encoding="utf-8")
    fewer = "" if len(merges) == num_merges else " (the text has no more than that)"
    sys.stderr.write(f"{len(merges)} merges learned{fewer}\n")
