"""Which checkpoint `tupe predict` takes for a task, and on which data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tupe_plugin.commands import predict_runs
from tupe_plugin.commands.predict_runs import PredictionRun, find_runs
from tupe_plugin.inference.predictor import FineTuned, PredictionError


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make a run: `runs(folder, task, score)`; its checkpoint holds nothing but what is read."""
    states = {}

    def make(folder: str, task: str, score: float | None, *, metric="mcc", maximize=True) -> Path:
        data = tmp_path / "data" / f"{task}-bin"
        (data / "input0").mkdir(parents=True, exist_ok=True)
        checkpoint = tmp_path / folder / "checkpoint_best.pt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
        settings = SimpleNamespace(
            best_checkpoint_metric=metric, maximize_best_checkpoint_metric=maximize
        )
        cfg = SimpleNamespace(task=SimpleNamespace(data=str(data)), checkpoint=settings)
        states[checkpoint] = {"cfg": cfg, "extra_state": {"val_loss": score}}
        return checkpoint

    monkeypatch.setattr(predict_runs, "read_fine_tuned", lambda path: FineTuned(path, states[path]))
    return make


def test_task_and_data_come_from_the_checkpoint(runs, tmp_path) -> None:
    checkpoint = runs("run", "RTE", 0.5)
    wanted = [PredictionRun("RTE", checkpoint, tmp_path / "data" / "RTE-bin")]
    assert find_runs([str(checkpoint)], data=None) == wanted
    assert find_runs([str(checkpoint.parent)], data=None) == wanted


def test_task_and_data_can_be_given(runs, tmp_path) -> None:
    checkpoint = runs("run=1", "RTE", 0.5)
    other = tmp_path / "elsewhere" / "QNLI-bin"
    (other / "input0").mkdir(parents=True)
    wanted = [PredictionRun("QNLI", checkpoint, other)]
    assert find_runs([f"QNLI={checkpoint}"], data=other) == wanted
    assert find_runs([f"QNLI={checkpoint}"], data=other.parent) == wanted
    with pytest.raises(PredictionError, match=r"was trained on RTE, and .*-bin is of QNLI: giv"):
        find_runs([str(checkpoint)], data=other)
    (run,) = find_runs([str(checkpoint)], data=None)  # its path has a "=" too
    assert run.task == "RTE"


@pytest.mark.parametrize(("maximize", "best"), [(True, "lr2/seed1"), (False, "lr1/seed2")])
def test_the_best_run_of_a_sweep_is_taken_and_said(runs, tmp_path, maximize, best) -> None:
    for folder, score in (("lr1/seed1", -0.5), ("lr1/seed2", -0.75), ("lr2/seed1", -0.25)):
        runs(f"sweep/{folder}", "RTE", score, maximize=maximize)
    runs("sweep/other", "CoLA", 0.1)
    found = {run.task: run for run in find_runs([str(tmp_path / "sweep")], data=None)}
    assert found["RTE"].checkpoint.parent == tmp_path / "sweep" / best
    (remark,) = found["RTE"].remarks
    assert remark.startswith("RTE: 3 runs; ")
    assert remark.endswith(f"mcc {-0.25 if maximize else -0.75}")
    assert found["CoLA"].remarks == ()


@pytest.mark.parametrize("other", [{"metric": "f1"}, {"score": None}])
def test_runs_that_cannot_be_compared_are_refused(runs, tmp_path, other) -> None:
    runs("runs/1", "RTE", 0.5)
    runs("runs/2", "RTE", **({"score": 0.9} | other))
    with pytest.raises(PredictionError, match="2 runs of RTE cannot be compared"):
        find_runs([str(tmp_path / "runs")], data=None)


def test_what_is_not_there_is_named(runs, tmp_path) -> None:
    checkpoint = runs("run", "RTE", 0.5)
    with pytest.raises(PredictionError, match=r"no .*none/RTE-bin/input0.* with --data"):
        find_runs([str(checkpoint)], data=tmp_path / "none")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").touch()
    with pytest.raises(ValueError, match=r"transformers: make a checkpoint of it by `tupe import"):
        find_runs([str(tmp_path / "bert")], data=None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PredictionError, match=r"empty: no checkpoint_best\.pt or checkpoint_last"):
        find_runs([str(tmp_path / "empty")], data=None)
