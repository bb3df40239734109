"""Learning and applying BPE; subword-nmt is the independent opinion."""

from __future__ import annotations

import io
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subword_nmt.apply_bpe import BPE as SubwordNmt

from tupe_plugin.data.text.protected_words import PROTECTED_WORDS
from tupe_plugin.data.units.apply_bpe import BadCodesError, BytePairEncoder, read_codes
from tupe_plugin.data.units.learn_bpe import learn_bpe

CORPUS = Path(__file__).parents[3] / "shared" / "data" / "wiki" / "wikitext2-valid.txt"


def codes_text(merges: list[tuple[str, str]]) -> str:
    return "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges)


def subword_nmt(merges: list[tuple[str, str]]) -> SubwordNmt:
    return SubwordNmt(io.StringIO(codes_text(merges)), glossaries=list(PROTECTED_WORDS))


def made_up_text(num_lines: int, seed: int) -> str:
    rng = random.Random(seed)
    syllables = ["ba", "ko", "ti", "né", "strə", "m", "東", "ss"]
    words = ["".join(rng.sample(syllables, k=rng.randint(1, 5))) for _ in range(300)]
    return "".join(" ".join(rng.choices(words, k=11)) + "\n" for _ in range(num_lines))


@pytest.fixture(scope="module")
def text_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bpe") / "text"
    path.write_text(made_up_text(200, seed=1), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def merges(text_file) -> list[tuple[str, str]]:
    return learn_bpe([text_file], num_merges=200)


def test_as_many_merges_as_asked_for_and_the_same_again(text_file, merges):
    assert len(merges) == 200
    assert learn_bpe([text_file], num_merges=200) == merges
    assert learn_bpe([text_file], num_merges=50) == merges[:50]


def merge_pair(units: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for unit in units:
        if merged and (merged[-1], unit) == pair:
            merged[-1] += unit
        else:
            merged.append(unit)
    return merged


def test_every_merge_is_of_a_most_frequent_pair(text_file, merges):
    # Counted anew, slowly, before each merge. (Which of several equally frequent pairs comes first
    # is the learner's choice; subword-nmt and tokenizers choose differently.)
    occurrences = Counter(text_file.read_text("utf-8").split())
    words = {word: [*word[:-1], word[-1] + "</w>"] for word in occurrences}
    for merge in merges:
        counts: Counter[tuple[str, str]] = Counter()
        for word, units in words.items():
            for pair in pairwise(units):
                counts[pair] += occurrences[word]
        assert counts[merge] == max(counts.values())
        words = {word: merge_pair(units, merge) for word, units in words.items()}


def test_pairs_seen_once_are_not_merged(tmp_path):
    path = tmp_path / "text"
    path.write_text("abc xyz abq\n", encoding="utf-8")
    assert learn_bpe([path], num_merges=100) == [("a", "b")]


def test_protected_words_are_neither_learned_nor_cut(tmp_path):
    path = tmp_path / "text"
    path.write_text("<url> <url> <url> url url\n", encoding="utf-8")
    merges = learn_bpe([path], num_merges=100)
    assert "".join(merges[-1]) == "url</w>"
    assert not any("<" in (left + right).removesuffix("</w>") for left, right in merges)
    assert BytePairEncoder(merges)("see <url> url </s>") == "s@@ e@@ e <url> url </s>"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ""),
        ("low", "low"),
        ("lowlow", "low@@ low"),
        ("lowx", "low@@ x"),
        ("xlow ol", "x@@ low o@@ l"),
        ("élow 東low東", "é@@ low 東@@ low@@ 東"),
        ("  low   low ", "low low"),
    ],
)
def test_by_hand(line, expected):
    merges = [("l", "o"), ("lo", "w"), ("lo", "w</w>")]
    assert BytePairEncoder(merges)(line) == expected


def test_equals_subword_nmt_on_the_text_it_was_learned_from_and_on_other_text(merges, text_file):
    ours, theirs = BytePairEncoder(merges), subword_nmt(merges)
    other = made_up_text(300, seed=2) + "unseen Letters äöü and <url> here\n"
    for line in (text_file.read_text("utf-8") + other).splitlines():
        assert ours(line) == theirs.process_line(line)


@settings(deadline=None)  # of a busy machine it would say nothing
@given(
    st.lists(st.text("abc", min_size=1, max_size=1), min_size=2, max_size=2, unique=True),
    st.lists(st.text("abcd", min_size=1, max_size=12), max_size=8),
    st.randoms(use_true_random=False),
)
def test_equals_subword_nmt_with_random_merges(letters, words, rng):
    # Merges in an order in which each can be learned: both halves exist before.
    units = [*"abc", *(f"{letter}</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for _ in range(12):
        left, right = rng.choice(units), rng.choice(units)
        if not left.endswith("</w>") and (left, right) not in merges and left + right not in units:
            merges.append((left, right))
            units.append(left + right)
    if merges:
        line = " ".join(words)
        assert BytePairEncoder(merges)(line) == subword_nmt(merges).process_line(line).strip()


@pytest.mark.skipif(not CORPUS.is_file(), reason="../shared/data/wiki is absent")
def test_equals_subword_nmt_on_wikipedia():
    text = CORPUS.read_text("utf-8").lower()
    merges = learn_bpe([CORPUS], num_merges=3000)
    ours, theirs = BytePairEncoder(merges), subword_nmt(merges)
    words = sorted(set(text.split()))
    assert len(words) > 10_000
    assert [ours(word) for word in words] == [theirs.process_line(word) for word in words]


def test_removing_the_marks_gives_the_text_back(merges):
    encode = BytePairEncoder(merges)
    for line in made_up_text(100, seed=3).splitlines():
        assert encode(line).replace("@@ ", "") == line


@pytest.mark.parametrize(
    ("text", "merges"),
    [
        ("#version: 0.2\na b\nab c</w>\n", [("a", "b"), ("ab", "c</w>")]),
        ("a b 17\nab c</w> 5\n", [("a", "b"), ("ab", "c</w>")]),  # fastBPE
        ("a b\r\nab c</w>\r\n", [("a", "b"), ("ab", "c</w>")]),
        ("\ufeff#version: 0.2\r\na b\r\nab c</w>\r\n", [("a", "b"), ("ab", "c</w>")]),
        ("\ufeffa b 17\nab c</w> 5\n", [("a", "b"), ("ab", "c</w>")]),
    ],
    ids=["subword-nmt", "fastBPE", "crlf", "bom", "bom-fastBPE"],
)
def test_codes_formats(tmp_path, text, merges):
    path = tmp_path / "codes"
    path.write_bytes(text.encode())
    assert read_codes(path) == merges


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#version: 0.2\na b\nabc\n", r"codes:3: expected 'left right'.*'abc'"),
        ("a b c d\n", r"codes:1: expected"),
        ("a </w>\n", r"codes:1: .*subword-nmt 0\.1"),
        ("#version: 0.2\n", r"codes: no merge found"),
    ],
)
def test_bad_codes_name_file_and_line(tmp_path, text, message):
    path = tmp_path / "codes"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadCodesError, match=message):
        read_codes(path)
