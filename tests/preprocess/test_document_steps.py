"""The steps of documents: which paragraphs stay, where sentences end, which are joined."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tupe_plugin.data.read.join_wrapped_lines import is_wrapped, join_wrapped_lines
from tupe_plugin.data.step_chain import Chain
from tupe_plugin.data.text.filter_paragraphs import Limits, fault_of
from tupe_plugin.data.text.merge_short_sentences import merge_short_sentences
from tupe_plugin.data.text.segment_sentences import segment_sentences

PROSE = "It was the best of times, it was the worst of times, it was the age of wisdom."


@pytest.mark.parametrize(
    ("paragraph", "fault"),
    [
        (PROSE, None),
        ("Chapter I.", "too short"),
        ("x" * 49, "too short"),
        ("x" * 50, None),
        ("x" * 51 + "1" * 21, None),
        ("x" * 51 + "1" * 22, "too few letters"),
        ("Το καλύτερο των καιρών, το χειρότερο των καιρών, η εποχή της σοφίας.", "too short"),
        (PROSE + " 東京" * 30, "too few letters"),
        (PROSE + " | a | b | c | d | e", "a table"),
        ("| " + PROSE, "a table"),
        (PROSE + r" \a \b \c \d \e \f \g", "a formula"),
        (PROSE * 20_000, "too long"),
    ],
)
def test_which_paragraphs_are_kept(paragraph, fault):
    assert fault_of(paragraph, Limits()) == fault


def test_the_limits_can_be_changed():
    greek = "Το καλύτερο των καιρών, το χειρότερο των καιρών, η εποχή της σοφίας."
    assert fault_of(greek, Limits(ascii_letters=False)) is None
    assert fault_of("Yes.", Limits(min_letters=3)) is None
    assert fault_of("Y 1 2", Limits(min_letters=0, min_letter_share=0.0)) is None


def test_dropped_paragraphs_are_counted_by_their_fault():
    counts: Counter[str] = Counter()
    step = Chain(steps=("filter_paragraphs",)).build()["filter_paragraphs"]
    assert step([["I.", PROSE], ["| x", "II."]], counts) == [[PROSE], []]
    assert counts == {"paragraphs dropped: too short": 3}


@pytest.mark.parametrize(
    ("paragraph", "sentences"),
    [
        ("He left. She stayed.", ["He left.", "She stayed."]),
        ("Mr. Smith met J. R. Brown. They spoke.", ["Mr. Smith met J. R. Brown.", "They spoke."]),
        ('"Is it?" he asked. "Yes!"', ['"Is it?" he asked.', '"Yes!"']),
        ("It cost $3.50. Cheap!  So.", ["It cost $3.50.", "Cheap!", "So."]),
        ("See <url>. It is e.g. there.", ["See <url>.", "It is e.g. there."]),
    ],
)
def test_where_sentences_end(paragraph, sentences):
    assert segment_sentences(paragraph) == sentences


@settings(deadline=None)  # of a busy machine it would say nothing
@given(st.text(st.sampled_from("aB. !?\"')é東\u2003"), max_size=60))
def test_segmentation_loses_nothing_but_space(paragraph):
    sentences = segment_sentences(paragraph)
    assert all(sentences)
    assert re.sub(r"\s", "", "".join(sentences)) == re.sub(r"\s", "", paragraph)


def test_a_panic_of_the_library_does_not_end_the_job(monkeypatch):
    panic = type("PanicException", (BaseException,), {})

    def segment(language, paragraph):
        raise panic if "rust" in paragraph else KeyboardInterrupt

    monkeypatch.setattr("tupe_plugin.data.text.segment_sentences.sentencex.segment", segment)
    assert segment_sentences("So rust. Is it?") == ["So rust. Is it?"]
    with pytest.raises(KeyboardInterrupt):
        segment_sentences("Ctrl-C.")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["yes .", "he said so again .", "no ."], ["yes . he said so again . no ."]),
        (["one two three", "a b c"], ["one two three a b c"]),
        (["a b c d e", "f", "g h i j k"], ["a b c d e f", "g h i j k"]),
        (["a", "b", "c d e f", "g h i j k"], ["a b c d e f", "g h i j k"]),
        (["a b c d e f g h i", "j k", "l m n o p"], ["a b c d e f g h i", "j k l m n o p"]),
        (["a b c d e f g h i j k", "l", "m n o p q r s t u v w"], None),
        ([], None),
    ],
)
def test_short_sentences_join_their_neighbours(before, after):
    expected = before if after is None else after
    assert merge_short_sentences(before, min_words=5, max_words=10) == expected


@settings(deadline=None)  # of a busy machine it would say nothing
@given(st.lists(st.integers(1, 9), max_size=30), st.integers(0, 6), st.integers(6, 20))
def test_merging_keeps_the_words_and_the_limits(sizes, min_words, max_words):
    words = iter(range(1000))
    lines = [" ".join(str(next(words)) for _ in range(size)) for size in sizes]
    merged = merge_short_sentences(lines, min_words=min_words, max_words=max_words)
    assert " ".join(merged) == " ".join(lines)
    lengths = [len(line.split()) for line in merged]
    assert all(length <= max(max_words, 9) for length in lengths)
    # What is still short could not be joined to either side.
    for index, length in enumerate(lengths):
        if length < min_words:
            neighbours = lengths[max(index - 1, 0) : index] + lengths[index + 1 : index + 2]
            assert all(length + neighbour > max_words for neighbour in neighbours)


WRAPPED = """\
It was the best of times, it was the worst of times, it was the
age of wisdom, it was the age of foolishness, it was the epoch of
belief, it was the epoch of incredulity, it was the season of well-
known Light, it was the season of Darkness.

It was the spring of hope.
"""


def test_wrapped_lines_become_paragraphs():
    assert list(join_wrapped_lines(WRAPPED.split("\n"))) == [
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the "
        "age of foolishness, it was the epoch of belief, it was the epoch of incredulity, it was "
        "the season of well-known Light, it was the season of Darkness.",
        "It was the spring of hope.",
    ]
    assert list(join_wrapped_lines(["", " ", "a -", "b", "1-", "2", " "])) == ["a - b 1- 2"]


def wrapped_at(width: int, num_words: int) -> list[str]:
    import random
    import textwrap

    rng = random.Random(7)
    words = " ".join("x" * rng.randint(1, 11) for _ in range(num_words))
    return textwrap.wrap(words, width)


@pytest.mark.parametrize("width", [60, 72, 79, 100])
def test_wrapped_text_is_recognised(width):
    assert is_wrapped([*wrapped_at(width, 400), "", *wrapped_at(width, 90)])


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["word"] * 5,
        wrapped_at(150, 900),  # paragraphs, perhaps; nobody wraps so wide
        [line for line in wrapped_at(72, 400) for line in (line, "")],
        [PROSE[: 20 + 13 * number % 55] for number in range(100)],  # a sentence a line
        ["a short line of verse", "and then another"] * 30,
        [PROSE] * 100,
    ],
    ids=["empty", "few", "wide", "blank-lines", "sentences", "verse", "all-of-a-length"],
)
def test_other_text_is_not_taken_for_wrapped(lines):
    assert not is_wrapped(lines)
