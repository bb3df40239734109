"""What is no checkpoint is called what it is, and never an instruction that could run code."""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from tests.checkpoint.test_read import contents
from tupe_plugin.checkpoint.errors import CheckpointError, DamagedCheckpointError
from tupe_plugin.checkpoint.read import read_checkpoint


def saved(state: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, **options)
    return buffer.getvalue()


def zipped(names: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def recompressed(whole: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    return zipped(records, zipfile.ZIP_DEFLATED)


WEIGHTS = {"bert.pooler.weight": torch.zeros(2)}
WHOLE = saved(contents())
FILES = [
    (save(WEIGHTS), "a safetensors file, which holds weights and no settings of fairseq"),
    (save(WEIGHTS, {"format": "tupe-delta 1"}), "a delta of BitFit: make the checkpoint: `tupe de"),
    (saved(WEIGHTS), "holds weights alone (1 tensors, bert.pooler.weight for one)"),
    (saved([1, 2]), "it holds a list"),
    (saved({"epoch": 1}), "it holds no `model`, only epoch"),
    (b"\n<!DOCTYPE html><html>404</html>", "a web page: download the file itself"),
    (json.dumps({"architectures": ["BertModel"]}).encode(), "a JSON file"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "run `git lfs pull`"),
    (gzip.compress(WHOLE), "compressed with gzip: unpack it"),
    (zipped({}), "an empty zip file"),
    (zipped({"readme.txt": b"text"}), "a zip file, but not one of torch.save"),
    (zipped({"a/constants.pkl": b"", "a/data.pkl": b""}), "a TorchScript program"),
    (recompressed(WHOLE), "a compressed zip file"),
    (b"", "(0 bytes) is no checkpoint, or an incomplete one"),
    (WHOLE[:-100], "is no checkpoint, or an incomplete one"),
    ((10**5).to_bytes(8, "little") + b'{"a":' * 20_000, "is no checkpoint, or an incomplete one"),
    (b"\x80\x02" + bytes(99), "is no checkpoint, or an incomplete one"),
]


@pytest.mark.parametrize(("data", "message"), FILES, ids=[message[:24] for _, message in FILES])
def test_other_files(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as refusal:
        read_checkpoint(path)
    line = str(refusal.value)
    assert line.startswith(str(path))
    assert message in line
    assert "\n" not in line
    assert "--trust" not in line


def test_a_changed_byte_is_found_by_its_checksum(tmp_path: Path) -> None:
    """torch alone reads the wrong weights without a word."""
    path = tmp_path / "model.pt"
    state = {**contents(), "args": None, "cfg": {}, "model": {"weight": torch.arange(64.0)}}
    whole = bytearray(saved(state))
    at = whole.index(state["model"]["weight"].numpy().tobytes()[8:]) + 9
    whole[at] ^= 4
    path.write_bytes(whole)
    read_by_torch = torch.load(path, weights_only=True)["model"]["weight"]
    assert not torch.equal(read_by_torch, torch.arange(64.0))
    with pytest.raises(DamagedCheckpointError, match="Bad CRC-32 for file"):
        read_checkpoint(path)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    link, folder, pipe = tmp_path / "link.pt", tmp_path / "bert", tmp_path / "pipe"
    link.symlink_to(tmp_path / "gone.pt")
    folder.mkdir()
    os.mkfifo(pipe)
    for path, message in (
        (tmp_path / "none.pt", "no such checkpoint: "),
        (link, f"is a link to {tmp_path / 'gone.pt'}, which is not there"),
        (pipe, "is neither a file nor a folder"),
        (folder, "is a folder without a *.pt file"),
        (folder / "config.json", ""),
        (folder, "is a folder of Hugging Face's transformers"),
        (folder / "checkpoint_best.pt", ""),
        (folder, f"is a folder: give a file in it, such as {folder / 'checkpoint_best.pt'}"),
    ):
        if not message:
            path.touch()
            continue
        with pytest.raises(CheckpointError) as refusal:
            read_checkpoint(path)
        assert message in str(refusal.value)
