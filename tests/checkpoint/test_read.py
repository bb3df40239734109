"""Checkpoints are read without executing code; what is refused is named."""

from __future__ import annotations

import argparse
import enum
import io
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tupe_plugin.checkpoint.errors import UnsafeCheckpointError, UnusableCheckpointError
from tupe_plugin.checkpoint.read import load, read_checkpoint

OLD_FORMAT = {"_use_new_zipfile_serialization": False}  # what torch wrote before 1.6


class Colour(enum.Enum):
    RED = "red"


class MakesAFolder:
    """Unpickling one runs code: it makes the folder `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def contents() -> dict[str, Any]:
    return {
        "args": argparse.Namespace(arch="tupe_tiny", lr=[0.1]),
        "model": OrderedDict(weight=torch.arange(6.0).reshape(2, 3).half()),
        "extra_state": {"epoch": 3, "val_loss": None, "names": ("a", "b")},
        "optimizer_history": [
            {
                "criterion_name": "C",
                "optimizer_name": "O",
                "lr_scheduler_state": {},
                "num_updates": 7,
            }
        ],
    }


@pytest.mark.parametrize("options", [{}, OLD_FORMAT], ids=["zip", "old"])
def test_what_fairseq_writes_is_read(tmp_path: Path, options: dict[str, bool]) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save(contents(), path, **options)
    with path.open("rb") as file:
        state = load(file, map_location="cpu")
    assert state["args"] == contents()["args"]
    assert torch.equal(state["model"]["weight"], contents()["model"]["weight"])
    assert state["extra_state"] == contents()["extra_state"]


SEEN = {
    **{"data": "a", "batches": "b", "batches_used": 1},
    **{"seen": torch.zeros(2, dtype=torch.uint8), "seen_before": None},
}


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        ({"sentences": []}, "train_iterator.sentences should be named values"),
        ({"sentences": {**SEEN, "batches_used": "1"}}, "batches_used should be a whole number"),
        ({"sentences": {**SEEN, "seen": torch.zeros(2)}}, "sentences.seen should be bits"),
        ({"sentences": {"seen": SEEN["seen"]}}, "lacks extra_state.train_iterator.sentences.data"),
        ({"patience": {"num_runs": "2"}}, "patience.num_runs should be a number"),
        ({"patience": {"__doc__": 2}}, "patience should be best and num_runs"),
        ({"time": torch.zeros(2)}, "previous_training_time should be a number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_how_far_an_epoch_came_is_checked(
    damage: dict[str, Any], place: str, tmp_path: Path
) -> None:
    for extra in ({"sentences": SEEN, "patience": {"best": 0.5, "num_runs": 2}}, damage):
        progress = {"epoch": 1, "iterations_in_epoch": 3, "sentences": extra.get("sentences", SEEN)}
        kept = {"train_iterator": progress, "patience": extra.get("patience", {})}
        kept["previous_training_time"] = extra.get("time", torch.ones(()))  # of several workers
        torch.save({**contents(), "extra_state": kept}, tmp_path / "checkpoint.pt")
        if extra is not damage:
            read_checkpoint(tmp_path / "checkpoint.pt")
            continue
        with pytest.raises(UnusableCheckpointError, match=place):
            read_checkpoint(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("options", [{}, OLD_FORMAT], ids=["zip", "old"])
def test_anything_else_is_refused_and_not_executed(
    tmp_path: Path, options: dict[str, bool]
) -> None:
    path, evidence = tmp_path / "checkpoint.pt", tmp_path / "evidence"
    torch.save({**contents(), "extra": MakesAFolder(evidence)}, path, **options)
    with pytest.raises(UnsafeCheckpointError) as refusal:
        load(path)
    assert not evidence.exists()
    message = str(refusal.value)
    assert str(path) in message
    assert "holds posix.mkdir" in message or "holds nt.mkdir" in message
    assert f"tupe convert-checkpoint --trust {path}" in message


def test_the_refusal_names_every_class(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"best": np.float64(0.5), "colour": Colour.RED}, path)
    with pytest.raises(UnsafeCheckpointError, match=r"numpy.*scalar.*tests.*Colour|Colour.*scalar"):
        load(path)


def test_the_allow_list_ends_with_the_call(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(contents(), buffer)
    buffer.seek(0)
    load(buffer)
    assert argparse.Namespace not in torch.serialization.get_safe_globals()
