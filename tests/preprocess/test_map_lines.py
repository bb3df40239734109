"""The runner: order, memory, blank lines, compressed and damaged files."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import pytest
import zstandard

from tupe_plugin.data.read.open_text import UnreadableTextError, read_lines
from tupe_plugin.data.step_chain import Chain
from tupe_plugin.data.text.map_lines import (
    LineMapper,
    blocks_of_lines,
    main,
    map_block,
    map_files,
)


def zstd_frames(content: bytes) -> bytes:
    """Two frames, as `cat a.zst b.zst` gives them, the first of unknown size."""
    compressor = zstandard.ZstdCompressor()
    middle = len(content) // 2
    stream = compressor.compressobj()
    first = stream.compress(content[:middle]) + stream.flush()
    return first + compressor.compress(content[middle:])


COMPRESSED = [
    (".gz", gzip.compress),
    (".bz2", bz2.compress),
    (".xz", lzma.compress),
    (".zst", zstd_frames),
]
CLEANING = ("normalize_punctuation", "remove_nonprinting", "tokenize_words", "lowercase_text")


def test_blocks_keep_every_line_in_order():
    lines = [f"line {number}" for number in range(100)]
    blocks = list(blocks_of_lines(lines, characters=50))
    assert [line for block in blocks for line in block] == lines
    assert len(blocks) > 10
    assert list(blocks_of_lines([], characters=50)) == []


def test_a_line_that_lost_its_text_is_dropped_but_an_empty_one_is_kept():
    block = ["a", "", "\u200b", "b"]
    filters = Chain(steps=("remove_nonprinting", "tokenize_words")).build()
    assert map_block(filters, block, drop_emptied=True) == ["a", "", "b"]
    assert map_block(filters, block, drop_emptied=False) == ["a", "", "", "b"]


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_lines_in_order(workers, monkeypatch):
    monkeypatch.setattr("tupe_plugin.data.text.map_lines.BLOCK_CHARACTERS", 1000)
    lines = [f"Line {number}, “quoted”." for number in range(500)]  # 12 blocks
    with LineMapper(Chain(steps=CLEANING), workers=workers) as mapper:
        mapped = [line for block in mapper.map_lines(lines) for line in block]
    assert mapped == [f'line {number} , " quoted . "' for number in range(500)]


def test_reading_is_never_far_ahead_of_writing():
    read = 0

    def endless_lines():
        nonlocal read
        while True:
            read += 1
            yield "word " * 1000

    with LineMapper(Chain(steps=("lowercase_text",)), workers=2) as mapper:
        for _, _block in zip(range(20), mapper.map_lines(endless_lines()), strict=False):
            pass
    assert read < 500


@pytest.mark.parametrize(("suffix", "compress"), [("", bytes), *COMPRESSED])
def test_compressed_files(tmp_path, suffix, compress):
    path = tmp_path / f"text{suffix}"
    path.write_bytes(compress("\ufeffone\r\ntwo\u2028still two\n\nlast, no newline".encode()))
    progress = []
    lines = list(read_lines(path, on_progress=progress.append))
    assert lines == ["one", "two\u2028still two", "", "last, no newline"]
    assert sum(progress) == path.stat().st_size


@pytest.mark.parametrize(("suffix", "compress"), COMPRESSED)
@pytest.mark.parametrize("share", [0.25, 0.75])
def test_a_truncated_archive_is_named(tmp_path, suffix, compress, share):
    path = tmp_path / f"text{suffix}"
    whole = compress("".join(f"line {number}\n" for number in range(20_000)).encode())
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UnreadableTextError, match=rf"text\{suffix}: cannot be read beyond line"):
        list(read_lines(path))


def test_invalid_utf8_is_dropped_and_counted(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfcaf\xc3\xa9\nbro\xffken \xc3\nwhole\n")
    dropped = []
    assert list(read_lines(path, on_invalid=dropped.append)) == ["café", "broken ", "whole"]
    assert dropped == [2]


def test_files_are_joined_by_an_empty_line(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"{name.upper()}\n", encoding="utf-8")
    with LineMapper(Chain(steps=("lowercase_text",)), workers=1) as mapper:
        counts = map_files([tmp_path / "a", tmp_path / "b"], tmp_path / "out", mapper)
    assert (tmp_path / "out").read_text("utf-8") == "a\n\nb\n"
    assert counts == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "lowercase_text", "missing"], "No such file"),
        (["--steps", "no_such_step", "text"], "no step 'no_such_step'; the steps are"),
        (["--steps", "segment_sentences", "text"], "a step of clean_documents, not of lines"),
        (["--steps", "lowercase_text,lowercase_text", "text"], "a step is there twice"),
        (["--steps", "apply_bpe", "text"], "needs --bpe-codes"),
        (["--steps", "apply_wordpiece", "text"], "needs --vocab"),
        (["--steps", "apply_wordpiece", "--vocab", "text", "text"], "text: no [UNK]"),
        (["--steps", "split_long_lines", "text"], "--max-line-tokens of at least 1, not None"),
        (["--steps", "apply_bpe", "--bpe-codes", "text", "text"], "text:1: expected 'left right'"),
    ],
)
def test_mistakes_give_one_clear_line(tmp_path, capsys, arguments, message):
    (tmp_path / "text").write_text("oneword\n", encoding="utf-8")
    paths = [str(tmp_path / word) if word in ("text", "missing") else word for word in arguments]
    with pytest.raises(SystemExit) as stopped:
        main([*paths, "--output", str(tmp_path / "out")])
    assert stopped.value.code == 1
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_full_disk_gives_one_clear_line(tmp_path, capsys):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "text").write_text("word " * 100_000, encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["--steps", "lowercase_text", str(tmp_path / "text"), "--output", "/dev/full"])
    assert stopped.value.code == 1
    assert "No space left" in capsys.readouterr().err.splitlines()[-1]
