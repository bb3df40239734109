"""Whatever Unicode, JSON or wikitext a reader is given: rows and lines, or an error of one line."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mwparserfromhell.parser import ParserError

from tupe_plugin.data.read.examples import Example, MalformedTableError
from tupe_plugin.data.read.open_text import read_lines
from tupe_plugin.data.read.read_examples import Columns, Rows, read_jsonl, read_squad2, read_tsv
from tupe_plugin.data.read.strip_wikitext import strip_wikitext

quickly = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
# Halves of characters too, which JSON can have.
HALVES_TOO = st.lists(st.characters() | st.sampled_from("\ud83d\udca9"), max_size=4).map("".join)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | HALVES_TOO,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "label", "id"]) | ANY_TEXT, inner, max_size=4)
    ),
    max_leaves=5,
)
ANY_ROW = st.fixed_dictionaries(
    dict.fromkeys(("text", "label", "id"), HALVES_TOO | ANY_JSON),
)
SQUAD_KEYS = ["data", "paragraphs", "context", "qas", "question", "id", "is_impossible"]
ANY_SQUAD = st.recursive(
    st.none() | st.booleans() | HALVES_TOO,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(SQUAD_KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


def look_at_rows(read: Callable[..., Rows], path: Path, content: str) -> None:
    path.write_text(content, "utf-8", newline="")
    try:
        rows = list(read(path, Columns(("text",), "label", "id"), str))
    except MalformedTableError as error:
        rows = [error]
    for row in rows:
        written = row.inputs if isinstance(row, Example) else [str(row)]
        assert not {"\n", "\r"} & set("".join(written))
        "".join(written).encode("utf-8")


@quickly
@given(ANY_JSON, ANY_ROW, ANY_TEXT)
def test_json_lines(tmp_path: Path, value: object, row: dict[str, object], behind: str) -> None:
    look_at_rows(read_jsonl, tmp_path / "rows", f"{json.dumps(value)}\n{json.dumps(row)}\n{behind}")


@quickly
@given(ANY_SQUAD)
def test_squad(tmp_path: Path, value: object) -> None:
    look_at_rows(read_squad2, tmp_path / "rows", json.dumps({"data": value}))


@quickly
@given(st.lists(st.lists(ANY_TEXT, max_size=4), max_size=4))
def test_tables(tmp_path: Path, rows: list[list[str]]) -> None:
    header = ["text", "label", "id"]
    look_at_rows(read_tsv, tmp_path / "rows", "\n".join("\t".join(row) for row in [header, *rows]))


@pytest.mark.parametrize(
    ("suffix", "compress"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress)]
)
@quickly
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"))))
def test_lines(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes], lines: list[str]
) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_bytes(compress("".join(f"{line}\n" for line in lines).encode()))
    assert list(read_lines(path)) == lines


@quickly
@given(
    st.lists(
        st.sampled_from(
            [
                *("{{", "}}", "{|", "|}", "[[", "]]", "|", "=", "''", "'''", "\n", "<!--", "-->"),
                *("<b ", "</b>", "<ref>", "</ref>", "<nowiki>", "</nowiki>", "<", ">", '"', "==\n"),
                *("convert", "File:", "&#", "x;", "1", "a ", "é", "http://a", "__TOC__"),
            ]
        ),
        max_size=30,
    )
)
def test_wikitext(pieces: list[str]) -> None:
    try:
        paragraphs = strip_wikitext("".join(pieces))
    except (ParserError, RecursionError):
        return  # such a page is left out, and counted
    assert all(paragraph and "\n" not in paragraph for paragraph in paragraphs)
