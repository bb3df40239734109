"""The filters against the Perl scripts' own output for 909 real lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from sacremoses import MosesTokenizer

from preprocess.filters.normalize_punctuation import normalize_punctuation
from preprocess.filters.remove_nonprinting import remove_nonprinting
from preprocess.filters.tokenize_words import tokenize_words

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "moses"

pytestmark = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="the Perl scripts' output (../shared/reference/moses) is absent"
)


def lines_of(name: str) -> list[str]:
    return (REFERENCE / name).read_bytes().decode("utf-8").split("\n")[:-1]


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        (normalize_punctuation, "input.txt", "normalized.txt"),
        (remove_nonprinting, "normalized.txt", "printable.txt"),
        (tokenize_words, "printable.txt", "tokenized_no_escape_protected.txt"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_line_equals_the_perl_scripts(step, before, after):
    lines, expected = lines_of(before), lines_of(after)
    assert len(lines) == len(expected) == 909
    different = [
        (line, step(line), want)
        for line, want in zip(lines, expected, strict=True)
        if step(line) != want
    ]
    assert different == []


def test_the_whole_chain_equals_the_perl_scripts():
    expected = lines_of("tokenized_no_escape_protected.txt")
    chained = [
        tokenize_words(remove_nonprinting(normalize_punctuation(line)))
        for line in lines_of("input.txt")
    ]
    assert chained == expected


def test_our_rule_for_periods_changes_only_the_last_word_of_sacremoses():
    plain = MosesTokenizer(lang="en")
    for line in lines_of("printable.txt"):
        if "<" in line:
            continue
        theirs = plain.tokenize(line, escape=False, return_str=True)
        ours = tokenize_words(line)
        assert ours == theirs or ours == theirs.removesuffix(".") + " ."
