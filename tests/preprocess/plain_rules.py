"""The text rules, run one after the other over every line as sacremoses does, and a comparison.

    python -m tests.preprocess.plain_rules --lines 5000000 [--seed 1] [TEXT...]

compares the steps with these on random lines, on lines of TEXT and on new lines of its words.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from sacremoses import MosesPunctNormalizer, MosesTokenizer

from tupe_plugin.data.read.open_text import read_lines
from tupe_plugin.data.text.clean_punctuation import clean_punctuation
from tupe_plugin.data.text.normalize_punctuation import normalize_punctuation
from tupe_plugin.data.text.protected_words import PROTECTED_WORDS
from tupe_plugin.data.text.replace_addresses import replace_addresses
from tupe_plugin.data.text.tokenize_words import tokenize_words

_CLEANING = [
    (r"\\+", " "),
    (r"\.{4,}", "..."),
    ("<<", "«"),
    (">>", "»"),
    (r",(?=[,.](?!\d))", ""),
    (r"(?<=\s)\*+(?=\w)", ""),
    (r" +(?=[,:.)\]»](?: |$))", ""),
    (r"(?<=[\[(«]) +", ""),
]


def plainly_cleaned(line: str) -> str:
    line = " ".join(line.split())
    for pattern, replacement in _CLEANING:
        line = re.sub(pattern, replacement, line)
    return " ".join(line.split())


def plainly_normalized(line: str) -> str:
    for pattern, replacement in _normalizer().substitutions:
        line = re.sub(pattern, replacement, line)
    return line


@cache
def _normalizer() -> MosesPunctNormalizer:
    return MosesPunctNormalizer(lang="en", perl_parity=True)


def plainly_replaced(line: str) -> str:
    """With what makes every rule look."""
    return replace_addresses(f"{line} ://").removesuffix(" ://")


class _PerlTokenizer(MosesTokenizer):
    """With the Perl script's rule for the period of the last word, and faster sets."""

    def __init__(self) -> None:
        super().__init__(lang="en")
        self._lower, self._alpha = frozenset(self.IsLower), frozenset(self.IsAlpha)

    def islower(self, text: str) -> bool:
        return self._lower.issuperset(text)

    def isanyalpha(self, text: str) -> bool:
        return not self._alpha.isdisjoint(text)

    def handles_nonbreaking_prefixes(self, text: str) -> str:
        words = text.split()
        if words and len(words[-1]) > 1 and words[-1].endswith("."):
            words[-1] = words[-1][:-1] + " ."
        return super().handles_nonbreaking_prefixes(" ".join(words))


@cache
def _tokenizer() -> MosesTokenizer:
    return _PerlTokenizer()


def plainly_tokenized(line: str) -> str:
    protected = list(PROTECTED_WORDS) if "<" in line else None
    return _tokenizer().tokenize(line, escape=False, return_str=True, protected_patterns=protected)


STEPS: dict[Callable[[str], str], Callable[[str], str]] = {
    replace_addresses: plainly_replaced,
    clean_punctuation: plainly_cleaned,
    normalize_punctuation: plainly_normalized,
    tokenize_words: plainly_tokenized,
}
_PIECES: dict[Callable[[str], str], list[str]] = {
    replace_addresses: [
        *("http", "https", "://", "www", ".", ".", "/", "a", "bcdef", "Ab", "1", ".com", ".ORG"),
        *(".pdf", ".doc", "@", "mailto:", "-", "_", " ", " ", ",", ")", "é", "ſ", "\u212a"),
    ],
    clean_punctuation: [
        *"ab1 .,:;()[]«»<>*\\\t\xa0\u2028\x1cé_",
        *("  ", "....", ". ", ",,", ",.5"),
    ],
    normalize_punctuation: [
        *"ab1٣é (). ,;:!?%`'\"\r»«„“”–—´‘’‚…\xa0º",
        *("  ", "nº\xa0", "\xa0cm", "\xa0ºC", " %", "''", "´´"),
    ],
    tokenize_words: [
        *"abstA12é½٣中ा    ''....,,,,--`\"()<$\0\x1c\xa0\u2028\u200b\tſ",
        *(
            "..",
            "' \0 '",
            "<url>",
            "<URL>",
            "</s>",
            "Mr",
            "No",
            "p.m",
            "THISISPROTECTED000",
            "DOTMULTI",
        ),
    ],
}


def random_lines(step: Callable[[str], str], rng: random.Random) -> Iterator[str]:
    """Endless lines of what the rules of the step look at; some of ASCII only."""
    pieces = _PIECES[step]
    while True:
        only_ascii = rng.random() < 0.3
        weights = [
            rng.random() ** 4 if piece.isascii() or not only_ascii else 0.0 for piece in pieces
        ]
        for _ in range(5):
            yield "".join(rng.choices(pieces, weights, k=rng.choice([0, 1, 2, 3, 5, 8, 15, 40])))


def mixed_lines(lines: list[str], rng: random.Random) -> Iterator[str]:
    """Endless lines of the words of others."""
    words = [word for line in lines for word in line.split()]
    while words:
        start = rng.randrange(len(words))
        some = words[start : start + 3] + rng.choices(words, k=rng.randint(0, 8))
        yield " ".join(some)


def differences(step: Callable[[str], str], lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        expected, found = STEPS[step](line), step(line)
        if expected != found:
            yield f"{step.__name__}: {line!r} gives {found!r}, not {expected!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="*", type=Path, metavar="TEXT")
    parser.add_argument("--lines", type=int, default=100_000, help="of all kinds together")
    parser.add_argument("--step", choices=[step.__name__ for step in STEPS], help="only this one")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    real = [line for path in args.texts for line in read_lines(path)]
    wrong = 0
    steps = [step for step in STEPS if args.step in (None, step.__name__)]
    for step in steps:
        made = args.lines // len(steps) - len(real)
        shares = made // 2 if real else 0
        kinds = [
            ("of the texts", iter(real), len(real)),
            ("of their words", mixed_lines(real, rng), shares),
            ("random", random_lines(step, rng), made - shares),
        ]
        for kind, lines, number in kinds:
            some = (line for _, line in zip(range(number), lines, strict=False))
            found = list(differences(step, some))
            wrong += len(found)
            print(f"{step.__name__}: {number} lines {kind}, {len(found)} differences", flush=True)
            print(*found[:10], sep="\n", end="\n" if found else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
