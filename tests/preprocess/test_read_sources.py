"""Dumps, text files and folders as passages; shards that are the whole."""

from __future__ import annotations

import bz2
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from tupe_plugin.data.read.open_text import UnreadableTextError
from tupe_plugin.data.read.read_sources import Passage, Reader, find_sources, passages_of
from tupe_plugin.data.read.read_wiki_dump import read_articles
from tupe_plugin.data.read.shard import Shard, parse_shard
from tupe_plugin.data.step_chain import Chain
from tupe_plugin.data.text.clean_documents import blocks_of_passages, clean_block
from tupe_plugin.data.text.drop_duplicates import drop_duplicates

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "wiki"
SAMPLE /= "enwiki-pages-articles-sample.xml.bz2"
STEPS = (
    *("filter_paragraphs", "replace_addresses", "clean_punctuation", "normalize_punctuation"),
    *("remove_nonprinting", "segment_sentences", "tokenize_words", "lowercase_text"),
    "merge_short_sentences",
)


def page(title: str, text: str, *, ns: int = 0, more: str = "", model: str = "wikitext") -> str:
    return (
        f"<page><title>{title}</title><ns>{ns}</ns><id>1</id>{more}<revision>"
        f"<comment>no text</comment><model>{model}</model><text>{text}</text></revision></page>\n"
    )


DUMP = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/"><siteinfo><x>y</x></siteinfo>\n'
    + page("A", "&lt;b&gt;First&lt;/b&gt; page.")
    + page("R", "#REDIRECT [[A]]", more='<redirect title="A" />')
    + page("Old", "#redirect [[A]]")
    + page("Talk:A", "Talk.", ns=1)
    + page("Module", "return {}", model="Scribunto")
    + page("B", "''Second'' page.\n\n== References ==\nx")
    + page("Empty", "")
    + "</mediawiki>\n"
)


@pytest.fixture
def dump(tmp_path) -> Path:
    path = tmp_path / "wiki.xml.bz2"
    path.write_bytes(bz2.compress(DUMP.encode()))
    return path


def test_articles_of_a_dump(dump):
    counts: Counter[str] = Counter()
    read = []
    articles = list(read_articles(dump, counts, on_progress=read.append))
    assert articles == [
        "<b>First</b> page.",
        "''Second'' page.\n\n== References ==\nx",
        "",
    ]
    assert counts == {
        "articles": 3,
        "redirects": 2,
        "pages outside of the article namespace": 1,
        "pages that are not wikitext": 1,
    }
    assert sum(read) == dump.stat().st_size


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bz2.compress(DUMP.encode())[:300], "cannot be read from its start on: .* ended before"),
        (bz2.compress(DUMP[:-20].encode()), "cannot be read beyond the page '.*': "),
        (bz2.compress(DUMP.replace("'B'", "&").encode())[:-9], "cannot be read"),
        (bz2.compress(b"<html></html>"), "<mediawiki> expected, found <html>"),
        (bz2.compress(b"plain text"), "cannot be read from its start on: syntax error"),
        (b"plain text", "cannot be read from its start on: Invalid data stream"),
        (bz2.compress(b""), "cannot be read from its start on: no element found"),
    ],
)
def test_a_damaged_dump_is_named(dump, content, message):
    dump.write_bytes(content)
    with pytest.raises(UnreadableTextError, match=r"wiki\.xml\.bz2: .*" + message):
        list(read_articles(dump, Counter()))


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLE.is_file(), reason="../shared/data/wiki is absent")
def test_a_real_dump():
    counts: Counter[str] = Counter()
    articles = list(read_articles(SAMPLE, counts))
    assert len(articles) == counts["articles"] == 106
    assert counts.total() == 206
    assert articles[0].lstrip().startswith("{{Redirect2|Anarchist")


def passage(*lines: str, ends: bool = True) -> Passage:
    return Passage(list(lines), is_wikitext=False, ends_document=ends)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n \n", []),
        ("a\nb\n\nc", [passage("a", "b"), passage("c")]),
        ("\n\na\n\u00a0\n\nb\n", [passage("a"), passage("b")]),
        ("aaa\nbbb\nccc\n\nd", [passage("aaa", "bbb", ends=False), passage("ccc"), passage("d")]),
        ("aaa\nbbb\n\nd", [passage("aaa", "bbb"), passage("d")]),
        ("a" * 9 + "\nb", [passage("a" * 9, ends=False), passage("b")]),
    ],
)
def test_passages(text, expected):
    assert list(passages_of(text.split("\n"), characters=5)) == expected


def test_a_folder_is_its_text_files_by_name(tmp_path, dump):
    for name in ("b/2.txt", "b/10.txt.gz", "a.txt", "cover.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    notes = []
    found = find_sources([tmp_path / "b", tmp_path, dump], on_note=notes.append)
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        *("b/10.txt.gz", "b/2.txt"),
        *("a.txt", "b/10.txt.gz", "b/2.txt", "wiki.xml.bz2"),
        "wiki.xml.bz2",
    ]
    assert notes == [f"{tmp_path}: 4 text files; 1 others left out"]
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"none: no \.txt or \.xml file"):
        find_sources([tmp_path / "none"])


def test_a_wrapped_file_is_one_document_and_that_is_said(tmp_path):
    width = 60
    lines = ["word " * 11 + "wor"] * 30 + ["end."]
    assert all(len(line) <= width for line in lines)
    (tmp_path / "book.txt").write_text("\n".join([*lines, "", *lines]) + "\n", "utf-8")
    notes = []
    reader = Reader(on_note=notes.append)
    (only,) = reader.read([tmp_path / "book.txt"])
    assert [line.count("wor ") for line in only.lines] == [30, 30]
    assert notes == ["book.txt: the lines are wrapped; joined, the file is a document"]
    assert reader.counts == {"files": 1, "files with wrapped lines": 1, "documents": 1}
    assert len(list(Reader(wrapped=False).read([tmp_path / "book.txt"]))) == 2


LONG = ["It was the best of times, it was the worst of times, it was the age of wisdom. " * 3] * 3
NOVEL = [*LONG, "", *LONG, ""] * 100  # a paragraph a line; 200 documents
BOOK = [*["word " * 11 + "wor"] * 7, "end.", ""] * 100  # wrapped; 100 paragraphs, one document
VERSE = ["a short line of verse,", "and then another."] * 75 + [""]  # nobody's mark
ALL, NONE, PART = "the lines are wrapped", "", "% of the lines are wrapped"


@pytest.mark.parametrize(
    ("parts", "said", "documents", "paragraphs"),
    [
        ((NOVEL,), NONE, 200, 600),
        ((BOOK, BOOK), ALL, 1, 200),
        ((NOVEL, BOOK), f"52.9{PART}", 201, 700),
        ((BOOK, NOVEL), f"52.9{PART}", 201, 700),
        ((NOVEL * 9, BOOK * 9, NOVEL, BOOK), f"52.9{PART}", 2002, 7000),
        ((BOOK, VERSE, BOOK), ALL, 1, 201),  # too short for a part
        ((NOVEL, VERSE, NOVEL), NONE, 401, 1350),
        ((NOVEL, BOOK[:90], NOVEL), NONE, 410, 1280),
    ],
    ids=[*("novel", "books", "novel-book", "book-novel", "many", "verse", "verse-in-novel", "few")],
)
def test_each_part_of_a_file_is_judged(tmp_path, parts, said, documents, paragraphs):
    (tmp_path / "a.txt").write_text("\n".join(chain.from_iterable(parts)) + "\n", "utf-8")
    notes: list[str] = []
    reader = Reader(on_note=notes.append)
    found = sum(len(passage.lines) for passage in reader.read([tmp_path / "a.txt"]))
    assert [note.removeprefix("a.txt: ").split(";")[0] for note in notes] == (
        [said] if said else []
    )
    assert (reader.counts["documents"], found) == (documents, paragraphs)


def test_invalid_utf8_is_counted(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"so \xff\xfe is\nit\n")
    reader = Reader()
    assert [p.lines for p in reader.read([tmp_path / "a.txt"])] == [["so  is", "it"]]
    assert reader.counts["bytes of invalid UTF-8 dropped"] == 2
    assert reader.counts["lines with invalid UTF-8"] == 1


@pytest.fixture
def corpus(tmp_path, dump, monkeypatch) -> list[Path]:
    """Text and a dump; a book longer than a passage, copies, a document that is all dropped."""
    sentence = (
        "Mr. {} said “so” to the people of that town, and everybody laughed at http://a.org. No!"
    )
    monkeypatch.setattr("tupe_plugin.data.read.read_sources.PASSAGE_CHARACTERS", 3000)
    book = [sentence.format("Mulligan")] * 100
    assert sum(map(len, book)) > 2 * 3000
    documents = [[sentence.format(f"B{n % 7}"), "I.", sentence.format("C")] for n in range(11)]
    documents[3:3] = [book, ["II."]]
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join("\n".join(lines) for lines in documents) + "\n", "utf-8")
    return [text, dump]


def cleaned(corpus: list[Path], shard: Shard, output: Path) -> tuple[Counter[str], Counter[str]]:
    """What `clean_documents` writes, without its processes; blocks of another size for each."""
    steps, counts, reader = Chain(steps=STEPS).build(), Counter(), Reader(shard=shard)
    blocks = blocks_of_passages(reader.read(corpus), characters=1000 * shard.number)
    output.write_text("".join(clean_block(steps, block, counts) for block in blocks), "utf-8")
    return reader.counts, counts


@pytest.mark.parametrize("num_shards", [2, 3, 20])
def test_shards_joined_are_the_whole(tmp_path, corpus, num_shards):
    read, counted = cleaned(corpus, Shard(), tmp_path / "whole")
    total: Counter[str] = Counter()
    paths = []
    for number in range(1, num_shards + 1):
        paths.append(tmp_path / f"shard{number}")
        shard_read, shard_counted = cleaned(corpus, Shard(number, num_shards), paths[-1])
        assert shard_read == read
        total += shard_counted
    assert total == +counted
    assert read["documents"] == 16
    whole = drop_duplicates([[tmp_path / "whole"]], tmp_path / "a", unit="documents")
    assert drop_duplicates([paths], tmp_path / "b", unit="documents") == whole
    assert whole["documents dropped"] == 4
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_cleaned_text(tmp_path, corpus):
    _, counts = cleaned(corpus, Shard(), tmp_path / "out")
    lines = (tmp_path / "out").read_text("utf-8").split("\n")
    assert lines[:3] == [
        'mr. b0 said " so " to the people of that town , and everybody laughed at <url> . no !',
        'mr. c said " so " to the people of that town , and everybody laughed at <url> . no !',
        "",
    ]
    assert counts["paragraphs dropped: too short"] == 11 + 1 + 2
    assert counts["lines"] == 100 + 22
    changed = {name for name in counts if name.endswith("changed") and counts[name]}
    assert changed == {
        f"{step}: lines changed"
        for step in STEPS[1:]
        if step not in ("segment_sentences", "merge_short_sentences", "remove_nonprinting")
        and step != "clean_punctuation"
    }


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "1/0", "a/b", "1/2/3", "-1/3"])
def test_a_shard_that_is_none(text):
    with pytest.raises(ValueError, match="must be i/n"):
        parse_shard(text)
