"""`tupe convert-checkpoint`: what a trusted file holds, as tensors and plain containers."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.checkpoint.test_read import Colour, MakesAFolder, contents
from tupe_plugin.checkpoint.read import load
from tupe_plugin.commands import convert_checkpoint
from tupe_plugin.commands import main as tupe


def test_converting_needs_trust(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, evidence = tmp_path / "in.pt", tmp_path / "evidence"
    torch.save({"extra": MakesAFolder(evidence)}, source)
    assert tupe(["convert-checkpoint", str(source), str(tmp_path / "out.pt")]) == 1
    assert "--trust" in capsys.readouterr().err
    assert not evidence.exists()
    assert not (tmp_path / "out.pt").exists()


def test_a_converted_checkpoint_is_read_and_equal(tmp_path: Path) -> None:
    (history,) = contents()["optimizer_history"]
    source, target = tmp_path / "in.pt", tmp_path / "out.pt"
    torch.save(
        {
            **contents(),
            "best": np.float64(0.125),
            "counts": np.arange(3),
            "colour": Colour.RED,
            "folder": Path("runs"),
            "optimizer_history": [{**history, "num_updates": np.int64(7)}],
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
    assert state["optimizer_history"] == contents()["optimizer_history"]
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
    extra = contents()["extra_state"]
    torch.save({**contents(), "extra_state": {**extra, "lock": argparse.ArgumentError}}, source)
    command = ["convert-checkpoint", "--trust", str(source), str(target)]
    assert tupe(command) == 1
    assert "extra_state.lock is a builtins.type" in capsys.readouterr().err
    assert not target.exists()
    assert tupe([*command, "--drop", "extra_state.lock"]) == 0
    assert load(target)["extra_state"] == extra


def test_a_target_that_exists_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.pt"
    torch.save(contents(), source)
    assert tupe(["convert-checkpoint", "--trust", str(source), str(source)]) == 1
    assert "exists already" in capsys.readouterr().err
