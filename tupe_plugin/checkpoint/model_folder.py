"""A folder of Hugging Face's transformers: its configuration and its weights. No code in it is run.

config.json
model.safetensors                         or model.safetensors.index.json and its shards
pytorch_model.bin                         or pytorch_model.bin.index.json and its shards
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .errors import (
    DamagedCheckpointError,
    ForeignFileError,
    MissingCheckpointError,
    UnusableCheckpointError,
    in_one_line,
)
from .file_kind import refuse_what_is_no_file
from .read import load

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_SUFFIXES = tuple(Path(name).suffix for name in WEIGHTS)
LARGEST_JSON = 256 << 20
"""Bytes; a tokenizer of 250,000 units takes 17 MB."""


def is_model_folder(path: Path) -> bool:
    """Whether this is such a folder."""
    return (path / CONFIG).is_file()


def is_model(path: Path) -> bool:
    """Whether this is such a folder, or a file of weights in one."""
    if path.is_dir():
        return is_model_folder(path)
    return path.suffix in _SUFFIXES and path.is_file() and is_model_folder(path.parent)


def folder_of(path: Path) -> Path:
    """The folder of a model that is given by itself or by its file of weights.

    Raises:
        CheckpointError: there is none.
    """
    folder = path if path.is_dir() else path.parent
    if not path.exists() or not is_model_folder(folder):
        if path.is_file():
            raise ForeignFileError(
                f"{path}: no {CONFIG} beside it, without which its model is not known"
            )
        if path.is_dir():
            raise ForeignFileError(
                f"{path} has no {CONFIG}: give a folder that save_pretrained of transformers wrote"
            )
        refuse_what_is_no_file(path)
    return folder


def read_json(path: Path) -> Any:
    """A JSON file, of a size that can be.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    refuse_what_is_no_file(path)
    if path.stat().st_size > LARGEST_JSON:
        raise UnusableCheckpointError(f"{path} has more than {LARGEST_JSON >> 20} MiB")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedCheckpointError(f"{path} is not a JSON file ({in_one_line(error)})") from error


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds named values.

    Raises:
        CheckpointError: as above, or it holds something else.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise UnusableCheckpointError(f"{path} should hold named values")
    return value


def write_json(path: Path, value: Any) -> None:
    """In the form in which transformers writes it."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def read_weights(path: Path) -> dict[str, Tensor]:
    """All parameters, from a folder or from one file of it.

    Raises:
        CheckpointError: a file is missing, something else, damaged or unsafe.
        OSError: it cannot be read.
    """
    if path.is_file():
        return dict(_tensors(path))
    for name in WEIGHTS:
        if (path / name).is_file():
            return dict(_tensors(path / name))
        if (path / f"{name}.index.json").is_file():
            return _read_shards(path / f"{name}.index.json")
    raise MissingCheckpointError(f"{path} has neither {' nor '.join(WEIGHTS)}, nor shards of them")


def _read_shards(index: Path) -> dict[str, Tensor]:
    places = read_object(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise DamagedCheckpointError(f"{index} has no weight_map")
    shards = sorted({str(shard) for shard in places.values()})
    for shard in shards:
        if shard in ("", ".", "..") or "/" in shard or os.sep in shard:
            raise UnusableCheckpointError(f"{index} names {shard!r}, which is no file beside it")
    weights: dict[str, Tensor] = {}
    for shard in shards:
        for name, tensor in _tensors(index.parent / shard):
            if places.get(name) != shard:
                raise DamagedCheckpointError(
                    f"{index.parent / shard} holds {name}, which should be in {places.get(name)}"
                )
            weights[name] = tensor
    if lacking := places.keys() - weights.keys():
        raise DamagedCheckpointError(f"{index.parent} lacks {min(lacking)}")
    return weights


def _tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    refuse_what_is_no_file(path)
    if path.suffix == ".safetensors":
        yield from _safetensors(path)
        return
    state = load(path, "cpu")
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise ForeignFileError(f"{path} holds no named tensors")
    yield from state.items()


def _safetensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Each tensor is read from a mapping of its own, which is gone when it has been copied."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
        for name in names:
            with safe_open(path, framework="pt") as file:
                tensor = file.get_tensor(name).clone()
            yield name, tensor
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise DamagedCheckpointError(
            f"{path} ({path.stat().st_size:,} bytes) is not a safetensors file, or is incomplete "
            f"({in_one_line(error)})"
        ) from error
