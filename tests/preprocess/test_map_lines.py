"""The runner: order, memory, blank lines, compressed and damaged files."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import pytest
import zstandard

from tupe_plugin.data.line_steps import UnitFiles
from tupe_plugin.data.read.open_text import UnreadableTextError, read_lines
from tupe_plugin.data.step_chain import Chain
from tupe_plugin.data.text.map_lines import blocks_of_lines, map_file, map_lines
from tupe_plugin.data.worker_pool import WorkerPool


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


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_lines_in_order(workers, monkeypatch):
    monkeypatch.setattr("tupe_plugin.data.text.map_lines.BLOCK_CHARACTERS", 1000)
    lines = [f"Line {number}, “quoted”." for number in range(500)]  # 12 blocks
    with WorkerPool(workers) as pool:
        mapped = [line for block in map_lines(lines, Chain(steps=CLEANING), pool) for line in block]
    assert mapped == [f'line {number} , " quoted . "' for number in range(500)]


def test_reading_is_never_far_ahead_of_writing(monkeypatch):
    monkeypatch.setattr("tupe_plugin.data.text.map_lines.BLOCK_CHARACTERS", 50_000)
    read = 0

    def endless_lines():
        nonlocal read
        while True:
            read += 1
            yield "word " * 1000

    with WorkerPool(2) as pool:
        blocks = map_lines(endless_lines(), Chain(steps=("lowercase_text",)), pool)
        for _, _block in zip(range(20), blocks, strict=False):
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


@pytest.mark.parametrize(("suffix", "compress"), COMPRESSED)
def test_junk_behind_an_archive_is_named_and_padding_is_not(tmp_path, suffix, compress):
    path = tmp_path / f"text{suffix}"
    path.write_bytes(compress(b"one\ntwo\n") + bytes(8))
    assert list(read_lines(path)) == ["one", "two"]
    path.write_bytes(compress(b"one\ntwo\n") + b"<html>404</html>")
    with pytest.raises(UnreadableTextError, match=rf"text\{suffix}: cannot be read beyond line"):
        list(read_lines(path))


ARCHIVE = bz2.compress(b"".join(b"%d\n" % (n * n) for n in range(40_000)), 1)  # four blocks
BEHIND_HALF = ARCHIVE[len(ARCHIVE) // 2 :]


@pytest.mark.parametrize(
    ("content", "is_whole"),
    [
        (ARCHIVE, True),
        (ARCHIVE + ARCHIVE, True),
        (ARCHIVE + bytes(9), True),
        (ARCHIVE + bytes(9) + ARCHIVE, True),
        (ARCHIVE + b"<html>" + ARCHIVE, False),
        (ARCHIVE + b"<html>", False),
        (ARCHIVE[:-1], False),
        (ARCHIVE[:-3] + bytes([ARCHIVE[-3] ^ 1]) + ARCHIVE[-2:], False),
        (ARCHIVE[: len(ARCHIVE) // 2] + bytes([BEHIND_HALF[0] ^ 1]) + BEHIND_HALF[1:], False),
        (ARCHIVE[: len(ARCHIVE) // 2 - 40] + BEHIND_HALF, False),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_several_workers_read_a_bz2_archive_as_one_does(tmp_path, capfd, content, is_whole):
    path = tmp_path / "text.bz2"
    path.write_bytes(content)
    if is_whole:
        progress = []
        lines = list(read_lines(path, workers=3, on_progress=progress.append))
        assert lines == list(read_lines(path))
        assert sum(progress) == len(content)
        return
    for workers in (1, 3):
        with pytest.raises(UnreadableTextError, match=r"text\.bz2: cannot be read beyond line"):
            list(read_lines(path, workers=workers))


@pytest.mark.parametrize(("suffix", "compress"), [("", bytes), *COMPRESSED])
def test_carriage_returns_alone_end_lines_too(tmp_path, suffix, compress):
    path = tmp_path / f"text{suffix}"
    path.write_bytes(compress(b"one\r\rthree\rfour"))
    assert list(read_lines(path)) == ["one", "", "three", "four"]


def test_invalid_utf8_is_dropped_and_counted(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfcaf\xc3\xa9\nbro\xffken \xc3\nwhole\n")
    dropped = []
    assert list(read_lines(path, on_invalid=dropped.append)) == ["café", "broken ", "whole"]
    assert dropped == [2]


@pytest.mark.parametrize(
    ("steps", "files", "message"),
    [
        ("no_such_step", {}, "no step 'no_such_step'; the steps are"),
        ("lowercase_text,lowercase_text", {}, "a step is there twice"),
        ("apply_bpe", {}, "needs --bpe-codes"),
        ("apply_wordpiece", {}, "needs --vocab"),
        ("apply_wordpiece", {"vocab": "text"}, r"text: no \[UNK\]"),
        ("split_long_lines", {}, "--max-line-tokens of at least 1, not None"),
        ("apply_bpe", {"bpe_codes": "text"}, "text:1: expected 'left right'"),
    ],
)
def test_a_chain_says_what_is_wrong_with_it(tmp_path, steps, files, message):
    (tmp_path / "text").write_text("oneword\n", encoding="utf-8")
    paths = {option: tmp_path / name for option, name in files.items()}
    with pytest.raises(ValueError, match=message):
        Chain(tuple(steps.split(",")), UnitFiles(**paths)).build()


def test_a_full_disk_is_an_error(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "text").write_text("word " * 100_000, encoding="utf-8")
    chain = Chain(steps=("lowercase_text",))
    with pytest.raises(OSError, match="No space left"), WorkerPool(1) as pool:
        map_file(tmp_path / "text", Path("/dev/full"), chain, pool)
