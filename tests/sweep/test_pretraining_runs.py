"""The pre-trainings of a comparison: alike in everything but the scheme and the seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tupe_plugin import commands
from tupe_plugin.sweep.option_words import options_of
from tupe_plugin.sweep.pretraining_comparison import BASELINE
from tupe_plugin.sweep.pretraining_runs import SCHEMES, Budget, PretrainingError, pretraining_runs

BUDGET = Budget(arch="tupe_tiny", updates=90, validations=4, lr=1e-3, batch_size=8, tokens=32)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "data-bin"
    folder.mkdir()
    (folder / "dict.txt").write_text("the 1\n")
    (folder / "manifest.json").write_text("{}")
    return folder


def test_runs_differ_in_scheme_and_seed_and_place_alone(corpus: Path, tmp_path: Path) -> None:
    runs = pretraining_runs(corpus, tmp_path / "runs", BUDGET, seeds=(1, 2), more={"cpu": True})
    assert [(run.model, run.seed) for run in runs] == [
        (scheme, seed) for seed in (1, 2) for scheme in SCHEMES
    ]
    assert BASELINE in SCHEMES
    assert len({run.key for run in runs}) == len(runs)
    own = ("position-scheme", "seed", "save-dir", "log-file")
    options = [options_of(run.command[2:]) for run in runs]
    alike = [{name: one[name] for name in one if name not in own} for one in options]
    assert all(one == alike[0] for one in alike)
    assert alike[0]["max-update"] == alike[0]["total-num-update"] == "90"
    assert alike[0]["validate-interval-updates"] == "23"  # four times, the last at the end
    assert alike[0]["cpu"] is True


def test_what_cannot_be_compared_is_refused_before_any_work(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(PretrainingError, match=r"--schemes bert: .* tupe-a, tupe-r"):
        pretraining_runs(corpus, tmp_path, BUDGET, schemes=("bert",), seeds=(1,), more={})
    with pytest.raises(PretrainingError, match="--schemes: none is there twice"):
        pretraining_runs(corpus, tmp_path, BUDGET, schemes=("none", "none"), seeds=(1,), more={})
    for option, message in (
        ("lr", "give --lr"),
        ("save-dir", "give FOLDER"),
        ("restore-file", "anew"),
    ):
        with pytest.raises(PretrainingError, match=f"--set {option}: .*{message}"):
            pretraining_runs(corpus, tmp_path, BUDGET, seeds=(1,), more={option: "1"})
    with pytest.raises(PretrainingError, match=r"no data of a corpus, it has no dict\.txt"):
        pretraining_runs(tmp_path, tmp_path, BUDGET, seeds=(1,), more={})


def test_dry_run_prints_commands_and_writes_nothing(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(tmp_path / "runs"), "--data", str(corpus), "--seeds", "1", "--set", "cpu"]
    given += ["--schemes", "tupe-r"]
    assert commands.main(["compare-pretraining", *given, "--updates", "7", "--dry-run"]) == 0
    _, _, line = capsys.readouterr().out.splitlines()
    assert "--max-update 7 " in line
    assert " --cpu " in line
    assert not (tmp_path / "runs").exists()
