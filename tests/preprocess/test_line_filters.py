"""Each filter against a table of before and after; each table has a line that must change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.filters.lowercase_text import lowercase_text
from preprocess.filters.normalize_punctuation import normalize_punctuation
from preprocess.filters.open_text import drop_invalid_utf8
from preprocess.filters.remove_nonprinting import remove_nonprinting
from preprocess.filters.split_long_lines import split_long_line
from preprocess.filters.tokenize_words import PROTECTED_WORDS, tokenize_words

TABLES = {
    normalize_punctuation: [
        ("plain words stay", "plain words stay"),
        ("", ""),
        ("“curly” „low“ «guillemets»", '"curly" "low" "guillemets"'),
        ("it’s", "it's"),
        ("so — and – then…", "so - and - then..."),
        ("too   many    spaces", "too many spaces"),
        ("He said “yes”.", 'He said "yes."'),
        ("50\u00a0% of 3 %", "50% of 3%"),
        ("f(x) ,y", "f (x),y"),
        ("``quoted''", ' " quoted " '),
        ("end\r", "end"),
    ],
    remove_nonprinting: [
        ("plain", "plain"),
        ("zero\u200bwidth", "zero width"),
        ("tab\there", "tab here"),
        ("carriage\rreturn", "carriage return"),
        ("\ufeffmark", " mark"),
        ("né à Zürich 東京 😀", "né à Zürich 東京 😀"),
    ],
    tokenize_words: [
        ("", ""),
        ("   ", ""),
        ("Don't, he said.", "Don 't , he said ."),
        ("5,300 dollars, or 3.14?", "5,300 dollars , or 3.14 ?"),
        ("Mr. Smith met Dr. Who at 5 p.m. sharp", "Mr. Smith met Dr. Who at 5 p.m. sharp"),
        ("see pp. 5 and No. 7", "see pp. 5 and No. 7"),
        ("the No. One, the pp. Five", "the No . One , the pp . Five"),
        ("the last stage of a Saturn V.", "the last stage of a Saturn V ."),
        ("It ended. the next", "It ended. the next"),
        ("It ended. The next", "It ended . The next"),
        ("wait... what", "wait ... what"),
        ("well-known (and/or) x", "well-known ( and / or ) x"),
        ("see <url> & </s>", "see <url> & </s>"),
        ("a<b", "a < b"),
        ("the boys' '90s", "the boys ' ' 90s"),
        ('"Quoted."', '" Quoted . "'),
    ],
    lowercase_text: [
        ("already", "already"),
        ("The ÉTUDE of <URL>", "the étude of <url>"),
    ],
}
ROWS = [(function, *row) for function, rows in TABLES.items() for row in rows]


@pytest.mark.parametrize(("function", "before", "after"), ROWS)
def test_before_and_after(function, before, after):
    assert function(before) == after


@pytest.mark.parametrize("function", TABLES, ids=lambda function: function.__name__)
def test_every_table_has_a_line_that_changes(function):
    assert any(before != after for before, after in TABLES[function])


@pytest.mark.parametrize("word", PROTECTED_WORDS)
def test_protected_words_survive_the_whole_cleaning(word):
    line = f"Before,{word} and {word}."
    for function in TABLES:
        line = function(line)
    assert line.split().count(word) == 2


@given(st.text())
def test_cleaning_never_makes_a_second_line_nor_fails(text):
    line = text.replace("\n", " ")
    for function in TABLES:
        line = function(line)
    # `splitlines` and fairseq's reader know more line ends than "\n".
    assert len(line.splitlines()) <= 1
    assert line == " ".join(line.split())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"plain", "plain"),
        (b"caf\xc3\xa9", "café"),
        (b"bro\xffken \xc3", "broken "),
        (b"\xef\xbb\xbfmark first", "mark first"),
    ],
)
def test_drop_invalid_utf8(before, after):
    assert drop_invalid_utf8(before) == after


@pytest.mark.parametrize(
    ("before", "max_tokens", "after"),
    [
        ("a b c", 3, "a b c"),
        ("a b c", 2, "a b\nc"),
        ("a . b c d", 4, "a .\nb c d"),
        ('a . " b c d', 5, 'a . "\nb c d'),
        ("a . b ! c d e", 5, "a . b !\nc d e"),
        ("a bb@@ bb@@ b c", 3, "a\nbb@@ bb@@ b\nc"),
        ("x@@ x@@ x@@ x", 2, "x@@ x@@\nx@@ x"),
        ("", 1, ""),
    ],
)
def test_split_long_line(before, max_tokens, after):
    assert split_long_line(before, max_tokens=max_tokens) == after


@given(
    st.lists(st.sampled_from(["a", "b@@", ".", '"', "!", "word"]), max_size=60),
    st.integers(min_value=1, max_value=13),
)
def test_split_long_line_keeps_every_token_and_the_limit(tokens, max_tokens):
    pieces = split_long_line(" ".join(tokens), max_tokens=max_tokens).split("\n")
    assert [token for piece in pieces for token in piece.split()] == tokens
    assert all(len(piece.split()) <= max_tokens for piece in pieces)
    assert all(pieces) or not tokens
