"""dict.txt, .bin and .idx: the same bytes as fairseq-preprocess writes."""

from __future__ import annotations

import logging
import multiprocessing
import random
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tupe_plugin.data.dictionary_file import (
    BadDictionaryError,
    read_dictionary,
    symbols_in,
    write_dictionary,
)
from tupe_plugin.data.worker_pool import WorkerPool
from tupe_plugin.data.write.binarize import Binarized, binarize
from tupe_plugin.data.write.build_dictionary import build_dictionary, count_units
from tupe_plugin.data.write.indexed_file import number_type

ONE = WorkerPool(1)
# Line ends, white space of Unicode, what looks like one of both, symbols of fairseq's.
MARKS = ["\n", "\r", "\r\n", " ", "\t", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\xa0", "\u2028"]
MARKS += ["\u3000", "\u200b", "\ufeff", "\0", " <unk> ", " </s> ", " madeupword0000 "]


@pytest.fixture
def fairseq_preprocess(tmp_path: Path):
    """Runs it in this process; returns the folder that it wrote."""
    from fairseq import options
    from fairseq_cli import preprocess

    before = list(preprocess.logger.handlers)

    def run(*arguments: object) -> Path:
        folder = tmp_path / f"fairseq{len(list(tmp_path.glob('fairseq*')))}"
        words = ["--only-source", "--destdir", str(folder), *map(str, arguments)]
        preprocess.main(options.get_preprocessing_parser().parse_args(words))
        return folder

    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield run
    logging.disable(level)
    for handler in set(preprocess.logger.handlers) - set(before):
        preprocess.logger.removeHandler(handler)
        handler.close()


def random_text(rng: random.Random) -> str:
    alphabet = ["a", "b", "é", "😀", *MARKS]
    weights = [rng.random() ** 3 for _ in alphabet]
    return "".join(rng.choices(alphabet, weights, k=rng.choice([0, 1, 3, 30, 3000])))


@pytest.mark.parametrize("seed", range(25))
def test_files_equal_fairseqs(seed, tmp_path, fairseq_preprocess, monkeypatch):
    rng = random.Random(seed)
    text = tmp_path / "text"
    if seed == 0:
        text.write_bytes((ROOT / "README.md").read_bytes())
    else:
        text.write_text(random_text(rng), encoding="utf-8", newline="")
    size, threshold = rng.choice([-1, 0, 3, 4, 5, 12, 20]), rng.choice([-1, 0, 1, 2, 5])
    factor = rng.choice([0, 1, 3, 8, 16])
    monkeypatch.setattr("tupe_plugin.data.write.text_blocks.BLOCK_BYTES", 10 ** rng.randint(0, 4))

    limits = ["--nwordssrc", size, "--thresholdsrc", threshold, "--padding-factor", factor]
    theirs = fairseq_preprocess("--trainpref", text, *limits)
    counts = count_units([text], ONE)
    dictionary = build_dictionary(counts, size=size, threshold=threshold, padding_factor=factor)
    write_dictionary(dictionary, tmp_path / "dict.txt")
    binarize(text, tmp_path / "dict.txt", tmp_path / "train", ONE)
    for name in ("dict.txt", "train.bin", "train.idx"):
        assert (tmp_path / name).read_bytes() == (theirs / name).read_bytes(), name


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        ("0 1\n1 1\n", "0\n1\r\n\n1\n"),  # labels
        ("262 5\r\n13 4\r\n50118 0\r\n", "13 262 7\n50118"),  # GPT-2's numbers, CRLF
        ("<file> 1\n<url> 1\nthe +3\n##s １２\na\x85b 2", "the ##s <url> <unk> [UNK]\n"),
    ],
)
def test_a_dictionary_that_is_given_is_used_as_fairseq_does(
    listed, text, tmp_path, fairseq_preprocess
):
    given, source = tmp_path / "given", tmp_path / "text"
    given.write_text(listed, encoding="utf-8", newline="")
    source.write_text(text, encoding="utf-8", newline="")
    theirs = fairseq_preprocess("--trainpref", source, "--srcdict", given)
    write_dictionary(read_dictionary(given), tmp_path / "dict.txt")
    binarize(source, given, tmp_path / "train", ONE)
    for name in ("dict.txt", "train.bin", "train.idx"):
        assert (tmp_path / name).read_bytes() == (theirs / name).read_bytes(), name


@pytest.mark.parametrize("symbols", [5, 65_499, 65_500, 2**32 - 2, 2**32 - 1])
def test_numbers_are_stored_in_fairseqs_type(symbols):
    from fairseq.data.indexed_dataset import best_fitting_int_dtype

    assert number_type(symbols) is best_fitting_int_dtype(symbols)


def test_a_symbol_that_overwrites_another_still_does_when_written(tmp_path, fairseq_preprocess):
    from fairseq.data import Dictionary

    given, text = tmp_path / "given", tmp_path / "text"
    flagged = "a 3\nb 2\na 1 #fairseq:overwrite\n<unk> 1 #fairseq:overwrite\n"
    given.write_text(flagged)
    text.write_text("a b <unk> c\n")
    theirs = fairseq_preprocess("--trainpref", text, "--srcdict", given)
    write_dictionary(read_dictionary(given), tmp_path / "dict.txt")
    assert (tmp_path / "dict.txt").read_text() == flagged
    assert symbols_in(given) == ["a", "b", "a", "<unk>"]
    assert binarize(text, given, tmp_path / "train", ONE) == Binarized(1, 5, 1, 1)
    assert (tmp_path / "train.bin").read_bytes() == (theirs / "train.bin").read_bytes()
    assert Dictionary.load(str(tmp_path / "dict.txt")).indices == read_dictionary(given).index


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a 1\nb\n", "given:2: expected 'symbol count', found 'b'"),
        (b"5\n", "given:1: expected 'symbol count', found '5'"),
        (b"a 1\na 2\n", "given:2: 'a' for the second time"),
        (b"<s> 2\n", "given:1: '<s>' for the second time"),
        (b"caf\xe9 1\n", "given is not UTF-8 text"),
    ],
)
def test_a_damaged_dictionary_is_named_with_its_line(content, message, tmp_path):
    (tmp_path / "given").write_bytes(content)
    with pytest.raises(BadDictionaryError, match=message):
        read_dictionary(tmp_path / "given")


def test_two_workers_write_what_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr("tupe_plugin.data.write.text_blocks.BLOCK_BYTES", 1000)
    text, dictionary = ROOT / "README.md", tmp_path / "dict.txt"
    with WorkerPool(2) as two:
        counts = count_units([text], two)
        assert counts == count_units([text], ONE)
        assert multiprocessing.active_children()
        write_dictionary(build_dictionary(counts, size=300), dictionary)
        written = [
            binarize(text, dictionary, tmp_path / name, pool)
            for name, pool in (("one", ONE), ("two", two))
        ]
        assert written[0] == written[1]
        assert written[0].unknown_share > 0.1
    for end in ("bin", "idx"):
        assert (tmp_path / f"one.{end}").read_bytes() == (tmp_path / f"two.{end}").read_bytes()


def test_a_text_that_is_not_utf8_is_named_with_its_line_and_leaves_what_was(tmp_path):
    (tmp_path / "dict.txt").write_text("a 1\n")
    (tmp_path / "train.bin").write_text("older")
    (tmp_path / "text").write_bytes(b"a\na caf\xe9\n")
    with pytest.raises(ValueError, match=r"text:2: not UTF-8"):
        binarize(tmp_path / "text", tmp_path / "dict.txt", tmp_path / "train", ONE)
    assert {path.name for path in tmp_path.iterdir()} == {"dict.txt", "text", "train.bin"}
    assert (tmp_path / "train.bin").read_text() == "older"


def test_a_file_that_fails_is_named_and_not_another(tmp_path):
    resource = pytest.importorskip("resource")
    text, dictionary = tmp_path / "text", tmp_path / "dict.txt"
    dictionary.write_text("a 1\n")
    with pytest.raises(FileNotFoundError, match="text'"):
        binarize(text, dictionary, tmp_path / "train", ONE)
    text.write_text("a " * 100_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: .*train\.bin'"):
            binarize(text, dictionary, tmp_path / "train", ONE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {path.name for path in tmp_path.iterdir()} == {"dict.txt", "text"}
