"""The manifest and its check of the data; fairseq's own writer makes what is checked."""

from __future__ import annotations

import hashlib
import json

import pytest

from tupe_plugin.data.write.make_manifest import UnfinishedDataError, check_split, manifest
from tupe_plugin.data.write.write_counts import write_counts


@pytest.fixture
def folder(tmp_path):
    import torch
    from fairseq.data import indexed_dataset

    data = tmp_path / "data-bin"
    data.mkdir()
    builder = indexed_dataset.make_builder(str(data / "train.bin"), "mmap", vocab_size=1000)
    for size in (3, 1, 7):
        builder.add_item(torch.arange(size))
    builder.finalize(str(data / "train.idx"))
    (tmp_path / "text").write_text("a b\n\nc d e f g h\n", "utf-8")
    return tmp_path


def test_what_fairseq_wrote_is_counted(folder):
    assert check_split(folder / "data-bin" / "train", folder / "text") == {
        "sentences": 3,
        "tokens": 11,
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train.bin", r"train\.bin: 21 bytes, its index says 22"),
        ("train.idx", r"train\.idx: 61 bytes do not hold 3 sentences"),
    ],
)
def test_a_file_that_lacks_its_end_is_named(folder, name, message):
    path = folder / "data-bin" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UnfinishedDataError, match=message):
        check_split(folder / "data-bin" / "train", folder / "text")


def test_a_text_of_another_length_is_named(folder):
    (folder / "text").write_text("a\n", "utf-8")
    with pytest.raises(UnfinishedDataError, match=r"3 sentences, but .*text has 1 lines"):
        check_split(folder / "data-bin" / "train", folder / "text")
    (folder / "data-bin" / "train.idx").write_bytes(b"TNTIDX\0\0" + bytes(40))
    with pytest.raises(UnfinishedDataError, match="not an index of fairseq's mmap format"):
        check_split(folder / "data-bin" / "train", folder / "text")


def write_shard(folder, number: int, **corpus: int):
    path = folder / f"counts{number}.json"
    path.write_text(json.dumps({"corpus": corpus, "shard": {"lines": number, f"x{number}": 1}}))
    return path


def make(folder, *counts) -> dict:
    content = manifest(
        folder / "data-bin",
        texts={"train": folder / "text"},
        found={"train": {"unknown": 2}},
        counts={"clean": [list(counts)]},
        options={"seed": "1", "odd": "a=b"},
        inputs=[folder / "text"],
    )
    write_counts(folder / "data-bin" / "manifest.json", content)
    return json.loads((folder / "data-bin" / "manifest.json").read_text("utf-8"))


def test_the_manifest_says_what_went_in_and_out(folder):
    made = make(folder, write_shard(folder, 1, files=5), write_shard(folder, 2, files=5))
    first = (folder / "data-bin" / "manifest.json").read_bytes()
    digest = hashlib.sha256((folder / "text").read_bytes()).hexdigest()
    assert made["inputs"] == [{"name": "text", "bytes": 17, "sha256": digest}]
    assert made["options"] == {"seed": "1", "odd": "a=b"}
    assert made["steps"]["clean"] == {
        "corpus": {"files": 5},
        "cleaned": {"lines": 3, "x1": 1, "x2": 1},
    }
    assert made["data"] == {"train": {"sentences": 3, "tokens": 11, "unknown": 2}}
    assert set(made["outputs"]) == {"train.bin", "train.idx"}
    assert str(folder) not in first.decode()
    make(folder, folder / "counts1.json", folder / "counts2.json")
    assert (folder / "data-bin" / "manifest.json").read_bytes() == first


def test_shards_of_other_corpora_are_refused(folder):
    with pytest.raises(UnfinishedDataError, match="have read different files"):
        make(folder, write_shard(folder, 1, files=5), write_shard(folder, 2, files=6))
