"""Checkpoints are read without executing code; what is refused is named, and can be converted."""

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

from tupe_plugin.commands import convert_checkpoint
from tupe_plugin.commands import main as tupe
from tupe_plugin.compat.checkpoint_loading import UnsafeCheckpointError, load

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


def test_converting_needs_trust(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, evidence = tmp_path / "in.pt", tmp_path / "evidence"
    torch.save({"extra": MakesAFolder(evidence)}, source)
    assert tupe(["convert-checkpoint", str(source), str(tmp_path / "out.pt")]) == 1
    assert "--trust" in capsys.readouterr().err
    assert not evidence.exists()
    assert not (tmp_path / "out.pt").exists()


def test_a_converted_checkpoint_is_read_and_equal(tmp_path: Path) -> None:
    source, target = tmp_path / "in.pt", tmp_path / "out.pt"
    torch.save(
        {
            **contents(),
            "best": np.float64(0.125),
            "counts": np.arange(3),
            "colour": Colour.RED,
            "folder": Path("runs"),
            "history": [{"num_updates": np.int64(7)}],
        },
        source,
    )
    assert tupe(["convert-checkpoint", "--trust", str(source), str(target)]) == 0
    state = load(target)
    assert type(state["best"]) is float
    assert state["best"] == 0.125
    assert torch.equal(state["counts"], torch.arange(3))
    assert state["colour"] == "red"
    assert state["folder"] == "runs"
    assert state["history"] == [{"num_updates": 7}]
    assert state["args"] == contents()["args"]
    assert torch.equal(state["model"]["weight"], contents()["model"]["weight"])
    assert state["extra_state"]["names"] == ("a", "b")


def test_a_configuration_of_omegaconf_becomes_a_dictionary() -> None:
    from omegaconf import OmegaConf

    config = OmegaConf.create({"lr": [0.5], "max": "${lr.0}", "model": {"layers": 2}})
    assert convert_checkpoint.to_plain(config) == {"lr": [0.5], "max": 0.5, "model": {"layers": 2}}


def test_what_has_no_plain_form_is_named_and_can_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.pt", tmp_path / "out.pt"
    torch.save({"extra_state": {"lock": argparse.ArgumentError}, "epoch": 1}, source)
    command = ["convert-checkpoint", "--trust", str(source), str(target)]
    assert tupe(command) == 1
    assert "extra_state.lock is a builtins.type" in capsys.readouterr().err
    assert not target.exists()
    assert tupe([*command, "--drop", "extra_state.lock"]) == 0
    assert load(target) == {"extra_state": {}, "epoch": 1}


def test_a_target_that_exists_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.pt"
    torch.save(contents(), source)
    assert tupe(["convert-checkpoint", "--trust", str(source), str(source)]) == 1
    assert "exists already" in capsys.readouterr().err
