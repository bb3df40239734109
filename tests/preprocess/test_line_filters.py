"""Each filter against a table of before and after; each table has a line that must change."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tupe_plugin.data.libraries import MissingLibraryError
from tupe_plugin.data.line_steps import UnitFiles, build_line_steps
from tupe_plugin.data.read.open_text import drop_invalid_utf8
from tupe_plugin.data.text.clean_punctuation import clean_punctuation
from tupe_plugin.data.text.lowercase_text import lowercase_text
from tupe_plugin.data.text.normalize_punctuation import normalize_punctuation
from tupe_plugin.data.text.protected_words import PROTECTED_WORDS
from tupe_plugin.data.text.remove_nonprinting import remove_nonprinting
from tupe_plugin.data.text.replace_addresses import replace_addresses
from tupe_plugin.data.text.split_hyphens import split_hyphens
from tupe_plugin.data.text.tokenize_words import tokenize_words
from tupe_plugin.data.units.split_long_lines import split_long_line

TABLES = {
    replace_addresses: [
        ("See http://a.org/b?c=d_e, then", "See <url>, then"),
        ("(HTTPS://UP.COM/X)", "(<url>)"),
        ("ftp://files.a.org.", "<url>."),
        ("“www.example.com/x”", "“<url>”"),
        ("At Amazon.com's page", "At <url>'s page"),
        ("en.wikipedia.org/wiki/Foo, too", "<url>, too"),
        ("Write to j.doe+x@mail.example.co.uk!", "Write to <email>!"),
        ("<mailto:a_b@c.org>", "<<email>>"),
        ("Open report.pdf, then PAPER_2.DOC.", "Open <file>, then <file>."),
        ("http://a.org and a@b.org and thesis.txt", "<url> and <email> and <file>"),
    ],
    clean_punctuation: [
        ("what ..... then....", "what ... then..."),
        ("so ,, he said", "so, he said"),
        ("so,. He", "so. He"),
        ("one , two : three . four", "one, two: three. four"),
        ("( in brackets ) [ or ] « so »", "(in brackets) [or] «so»"),
        ("<<quoted>>", "«quoted»"),
        ("a \\alpha\\\\ b", "a alpha b"),
        ("a *starred word", "a starred word"),
        ("  too   many\tspaces ", "too many spaces"),
    ],
    split_hyphens: [
        ("a light-hearted well-to-do man", "a light - hearted well - to - do man"),
        ("1869-1947 - so", "1869 - 1947 - so"),
    ],
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


@pytest.mark.parametrize(
    ("function", "line"),
    [
        *(
            (replace_addresses, line)
            for line in (
                "no address",
                "e.g. 3.14 of node.py, foo@bar, a.b",
                "It ended.Committee",
                "/srv/thesis.txt or data/thesis.txt",
                "see <url> <email> <file>",
                "the .com boom",
            )
        ),
        *((clean_punctuation, line) for line in ("a .5 b ,.5", "a :) smile", "2*3", "wait... no")),
    ],
)
def test_what_only_looks_alike_stays(function, line):
    assert function(line) == line


@pytest.mark.parametrize("function", TABLES, ids=lambda function: function.__name__)
def test_every_table_has_a_line_that_changes(function):
    assert any(before != after for before, after in TABLES[function])


@pytest.mark.parametrize("word", PROTECTED_WORDS)
def test_protected_words_survive_the_whole_cleaning(word):
    line = f"Before,{word} and {word}."
    for function in TABLES:
        line = function(line)
    assert line.split().count(word) == 2


@settings(deadline=None)  # of a busy machine it would say nothing
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
        ("un ##do ##ing a b", 4, "un ##do ##ing a\nb"),
        ("a un ##do ##ing b", 3, "a\nun ##do ##ing\nb"),
        ("a ## b", 2, "a ##\nb"),
    ],
)
def test_split_long_line(before, max_tokens, after):
    assert split_long_line(before, max_tokens=max_tokens) == after


@settings(deadline=None)  # of a busy machine it would say nothing
@given(
    st.lists(st.sampled_from(["a", "b@@", ".", '"', "!", "word"]), max_size=60),
    st.integers(min_value=1, max_value=13),
)
def test_split_long_line_keeps_every_token_and_the_limit(tokens, max_tokens):
    pieces = split_long_line(" ".join(tokens), max_tokens=max_tokens).split("\n")
    assert [token for piece in pieces for token in piece.split()] == tokens
    assert all(len(piece.split()) <= max_tokens for piece in pieces)
    assert all(pieces) or not tokens


def test_a_missing_library_is_named_with_the_step_that_needs_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "tupe_plugin.data.text.tokenize_words", raising=False)
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    message = r"has no sacremoses, which the step tokenize_words needs: pip install 'tupe-plugin\[d"
    with pytest.raises(MissingLibraryError, match=message):
        build_line_steps(["lowercase_text", "tokenize_words"], UnitFiles())
