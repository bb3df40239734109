"""The program that trains is the same one, imported or run by `python -m`."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
from fairseq_cli import train

from tupe_plugin.compat.early_stopping import validations_without_a_better_score
from tupe_plugin.compat.training_program import is_of_training


@pytest.mark.parametrize(
    ("called", "is_training"),
    [("fairseq_cli.train", True), ("__main__", True), ("fairseq_cli.validate", False)],
)
def test_patience_and_lock_are_of_the_program_that_runs(
    called: str, is_training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(train.should_stop_early, "num_runs", raising=False)
    started = ModuleType(called)
    started.__spec__ = ModuleSpec(train.__name__ if is_training else called, None)
    exec("def main(cfg): ...\ndef should_stop_early(): ...", vars(started))
    started.should_stop_early.num_runs = 3
    monkeypatch.setitem(sys.modules, called, started)
    assert is_of_training(started.main) == is_training
    assert validations_without_a_better_score() == (3 if is_training else 0)
