"""What lies at a path that should be a checkpoint: told from its first bytes, never by its name."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

from .errors import ForeignFileError, MissingCheckpointError

_CONVERT = "fairseq reads the checkpoints that fairseq-train writes (checkpoint_best.pt ...)"
_IMPORT = "`tupe import FOLDER -o OUT` makes a checkpoint of a BERT, RoBERTa, MPNet or TUPE"
_DOWNLOAD = "download the file itself"
_MAGIC = (  # first bytes, what they begin, what to do
    (b"\x1f\x8b", "compressed with gzip", "unpack it and give the *.pt file in it"),
    (b"BZh", "compressed with bzip2", "unpack it and give the *.pt file in it"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it and give the *.pt file in it"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it and give the *.pt file in it"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it and give the *.pt file in it"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file", "run `git lfs pull`"),
    (b"\x89HDF", "an HDF5 file (TensorFlow, Keras)", _CONVERT),
    (b"\x93NUMPY", "a numpy array", _CONVERT),
    (b"GGUF", "a GGUF file", _CONVERT),
)
_HEADER = 512


def refuse_what_is_no_file(path: str | os.PathLike[str]) -> None:
    """Say what is at a path that should be a file's, and what to do.

    Raises:
        MissingCheckpointError: there is nothing.
        ForeignFileError: there is a folder, a pipe ...
    """
    path = Path(path)
    if path.is_file():
        return
    if path.is_symlink() and not path.exists():
        raise MissingCheckpointError(
            f"{path} is a link to {os.readlink(path)}, which is not there: mend or remove it"
        )
    if not path.exists():
        raise MissingCheckpointError(f"no such checkpoint: {path}")
    if not path.is_dir():
        raise ForeignFileError(f"{path} is neither a file nor a folder")
    inside = sorted(child.name for child in path.iterdir())
    ours = [name for name in inside if name.endswith(".pt")]
    if ours:
        best = next((name for name in ours if name.startswith("checkpoint_best")), ours[0])
        raise ForeignFileError(f"{path} is a folder: give a file in it, such as {path / best}")
    if "config.json" in inside:
        raise ForeignFileError(
            f"{path} is a folder of Hugging Face's transformers: make a checkpoint of it by "
            f"`tupe import {path} -o OUT`, and give OUT/checkpoint.pt"
        )
    raise ForeignFileError(f"{path} is a folder without a *.pt file: give the path of a checkpoint")


def foreign_kind(file: BinaryIO) -> tuple[str, str] | None:
    """What a file is and what to do, if its first bytes are not those of a torch file."""
    file.seek(0)
    head = file.read(_HEADER)
    file.seek(0)
    if not head:
        return None
    for magic, kind, advice in _MAGIC:
        if head.startswith(magic):
            return kind, advice
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it and give the *.pt file in it"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page", _DOWNLOAD
    if text.startswith((b"{", b"[")):
        return "a JSON file", "give the checkpoint, not its configuration"
    if head[8:9] == b"{":
        return _safetensors(file, head)
    return None


def _safetensors(file: BinaryIO, head: bytes) -> tuple[str, str] | None:
    size = struct.unpack("<Q", head[:8])[0]
    file.seek(8)
    try:
        header = json.loads(file.read(min(size, 1 << 24)))
    except (ValueError, RecursionError):
        return None
    finally:
        file.seek(0)
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict) and str(metadata.get("format", "")).startswith("tupe-delta"):
        return "a delta of BitFit", "make the checkpoint: `tupe delta apply BASE DELTA -o OUT.pt`"
    return "a safetensors file, which holds weights and no settings of fairseq", _IMPORT


def zip_kind(archive: zipfile.ZipFile) -> tuple[str, str] | None:
    """What a zip file is and what to do, if torch.save has not written it."""
    names = [name.split("/", 1)[-1] for name in archive.namelist()]
    if not names:
        return "an empty zip file", "give the path of a checkpoint file"
    if "constants.pkl" in names:
        return "a TorchScript program", _CONVERT
    if "data.pkl" not in names:
        return "a zip file, but not one of torch.save", "unpack it and give the *.pt file in it"
    return None
