"""The filters against the Perl scripts' own output for 909 real lines."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sacremoses import MosesTokenizer

from tupe_plugin.data.text.normalize_punctuation import normalize_punctuation
from tupe_plugin.data.text.perl_scripts import (
    PerlScriptError,
    protected_words_text,
    run_perl_script,
    scripts_folder,
)
from tupe_plugin.data.text.remove_nonprinting import remove_nonprinting
from tupe_plugin.data.text.tokenize_words import tokenize_words

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT.parent / "shared" / "reference" / "moses"

has_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="the Perl scripts' output (../shared/reference/moses) is absent"
)
# Lines of every rule, for a comparison with the scripts wherever they are.
LINES = [
    "",
    "“It’s” – he said — ‘so’…",
    "50 % of ( 3 ) ; and : so ,, ``quoted''",
    "Mr. Smith met Dr. Who at 5 p.m. sharp; No. 7, pp. 5-7.",
    "the last stage of a Saturn V.",
    "see <url>, <email> and </s> now. A<b",
    "well-known (and/or) $3.50, the boys' '90s... can't",
    "zero\u200bwidth tab\there né à Zürich",
]


def perl_scripts() -> Path:
    try:
        return scripts_folder()
    except PerlScriptError as error:
        pytest.skip(str(error))


def lines_of(name: str) -> list[str]:
    return (REFERENCE / name).read_bytes().decode("utf-8").split("\n")[:-1]


@has_reference
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


@has_reference
def test_the_whole_chain_equals_the_perl_scripts():
    expected = lines_of("tokenized_no_escape_protected.txt")
    chained = [
        tokenize_words(remove_nonprinting(normalize_punctuation(line)))
        for line in lines_of("input.txt")
    ]
    assert chained == expected


@has_reference
def test_our_rule_for_periods_changes_only_the_last_word_of_sacremoses():
    plain = MosesTokenizer(lang="en")
    for line in lines_of("printable.txt"):
        if "<" in line:
            continue
        theirs = plain.tokenize(line, escape=False, return_str=True)
        ours = tokenize_words(line)
        assert ours == theirs or ours == theirs.removesuffix(".") + " ."


@pytest.mark.parametrize(
    ("step", "script"),
    [
        (normalize_punctuation, "normalize-punctuation.perl"),
        (remove_nonprinting, "remove-non-printing-char.perl"),
        (tokenize_words, "tokenizer.perl"),
    ],
)
def test_the_perl_scripts_themselves_say_the_same(step, script):
    perl_scripts()
    lines = LINES
    if REFERENCE.is_dir():
        lines = lines + lines_of("input.txt")
    if step is tokenize_words:
        lines = [remove_nonprinting(normalize_punctuation(line)) for line in lines]
    assert run_perl_script(script, lines) == [step(line) for line in lines]


FAKE_SCRIPTS = {
    "normalize-punctuation.perl": "while (<STDIN>) { tr/a-z/A-Z/; print }",
    "remove-non-printing-char.perl": "<STDIN>; print qq(one line\\n);",
    "tokenizer.perl": "die qq(no prefixes\\n);",
}


@pytest.fixture
def fake_scripts(tmp_path, monkeypatch) -> Path:
    if shutil.which("perl") is None:
        pytest.skip("no perl here")
    folder = tmp_path / "scripts" / "tokenizer"
    folder.mkdir(parents=True)
    for name, content in FAKE_SCRIPTS.items():
        (folder / name).write_text(content, "utf-8")
    monkeypatch.setenv("MOSESDECODER", str(tmp_path))
    return folder


def test_a_script_maps_a_block_of_lines(fake_scripts):
    lines = ["é line", "", "last"]
    assert run_perl_script("normalize-punctuation.perl", lines) == ["é LINE", "", "LAST"]


def test_a_script_that_fails_or_loses_lines_is_named(fake_scripts):
    with pytest.raises(PerlScriptError, match=r"remove.*: exit status 0, 1 lines for 2: "):
        run_perl_script("remove-non-printing-char.perl", ["a", "b"])
    with pytest.raises(PerlScriptError, match=r"tokenizer\.perl: exit status \d+, .*: no prefixes"):
        run_perl_script("tokenizer.perl", ["a"])


def test_scripts_that_are_not_there_are_named_with_the_way_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("MOSESDECODER", str(tmp_path))
    with pytest.raises(PerlScriptError, match=r"no .*normalize-punctuation\.perl: git submodule"):
        scripts_folder()


def test_the_words_protected_in_perl_are_those_protected_here():
    path = ROOT / "tupe_plugin" / "data" / "text" / "protected_words.txt"
    assert path.read_text("utf-8") == protected_words_text()
