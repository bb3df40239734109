"""`run.json`: what is written is read, and what is damaged is named."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tupe_plugin.compat.metric_direction import Metric
from tupe_plugin.sweep.run_record import RunRecord, TrainPoint, UnreadableRunError, Validation

RECORD = RunRecord(
    key="5f",
    task="CoLA",
    model="small",
    strategy="rdrop",
    lr=2e-5,
    seed=3,
    setting={"rdrop-alpha": 0.5},
    command=("fairseq-train", "data", "--lr", "2e-5"),
    configuration={"--lr": "2e-5", "--rel-pos": True},
    versions={"torch": "2.13.0"},
    hardware="2 cores",
    metric=Metric("mcc", more_is_better=True),
    state="finished",
    validations=tuple(
        Validation(update=10 * n, epoch=n, seconds=1.5 * n, scores={"loss": 1 / n, "mcc": mcc})
        for n, mcc in enumerate((0.25, 0.5, 0.5, 0.125), start=1)
    ),
    train=(TrainPoint(update=5, seconds=0.5, loss=0.75),),
    seconds=6.25,
    peak_memory=2**31,
    updates=40,
)


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    RECORD.write(tmp_path)
    assert RunRecord.read(tmp_path / "run.json") == RunRecord.read(tmp_path) == RECORD
    fields = json.loads((tmp_path / "run.json").read_text())
    assert fields["format"] == 1
    assert fields["metric"] == {"name": "mcc", "higher_is_better": True}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("metric", "best"),
    [(Metric("mcc", True), 2), (Metric("mcc", False), 3), (Metric("loss", False), 3)],
)
def test_the_best_validation_is_the_last_of_equals(
    tmp_path: Path, metric: Metric, best: int
) -> None:
    replace(RECORD, metric=metric).write(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["best"] == best
    assert RunRecord.read(tmp_path).best == best


def test_numbers_that_are_none_are_null_and_never_the_best(tmp_path: Path) -> None:
    scores = {"loss": math.nan, "mcc": math.nan}
    diverged = Validation(update=50, epoch=5, seconds=8.0, scores=scores)
    record = replace(
        RECORD,
        state="diverged",
        reason="the loss is nan",
        validations=(*RECORD.validations, diverged),
        train=(TrainPoint(update=50, seconds=8.0, loss=math.inf),),
        peak_memory=None,
    )
    record.write(tmp_path)
    text = (tmp_path / "run.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    again = RunRecord.read(tmp_path)
    assert math.isnan(again.validations[-1].scores["mcc"])
    assert (again.best, again.best_scores["mcc"]) == (2, 0.5)
    assert (again.state, again.reason) == ("diverged", "the loss is nan")
    assert replace(record, validations=()).best is None


@pytest.mark.parametrize(
    ("validations", "state", "reason"),
    [
        ([], "failed", "it has ended without a validation"),
        ([{"loss": 0.5, "mcc": math.nan}], "diverged", "no validation has a number as its mcc"),
        ([{"loss": 0.5, "mcc": 1e308}], "diverged", "no validation has a number as its mcc"),
        ([{"loss": math.inf, "mcc": 0.5}], "finished", ""),
    ],
)
def test_a_run_without_a_score_has_not_finished(
    tmp_path: Path, validations: list[dict[str, float]], state: str, reason: str
) -> None:
    """Neither where it is written, nor where it is read."""
    found = tuple(Validation(update=10, epoch=1, seconds=1.0, scores=one) for one in validations)
    written = replace(RECORD, state="running", validations=found)
    written.write(tmp_path)
    file = tmp_path / "run.json"
    file.write_text(file.read_text().replace('"running"', '"finished"'))
    for run in (replace(written, state="finished"), RunRecord.read(tmp_path)):
        assert (run.state, run.reason) == (state, reason)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 2}, "format is 2, and this reads 1"),
        ({"state": "done"}, "state is 'done', and should be one of"),
        ({"seed": "3"}, "seed is '3', and should be of type int"),
        ({"seed": True}, "seed is True, and should be of type int"),
        ({"sede": 3}, "sede is no field of a run"),
        ({"lr": ...}, "lr is missing"),
        ({"metric": {"name": "mcc"}}, "metric.higher_is_better is missing"),
        ({"seconds": 10**400}, "seconds is too large for a number"),
        ({"seconds": -0.5}, "seconds is -0.5, and should be a number from 0 to 1e+10"),
        ({"seconds": math.nan}, "seconds is no number, and should be a number from 0"),
        ({"lr": math.nan}, "lr is no number, and should be a number from 0"),
        ({"lr": -1}, "lr is -1.0, and should be a number from 0"),
        ({"seed": -1}, "seed is -1, and should be a whole number from 0"),
        ({"peak_memory": -1}, "peak_memory is -1, and should be a whole number from 0"),
        ({"setting": {"rdrop-alpha": math.inf}}, "setting.rdrop-alpha is None, and should be of"),
        (
            {"validations": [{"update": 0, "epoch": 1, "seconds": 1, "scores": {"mcc": 1}}]},
            "validations[0].update is 0, and should be a whole number from 1",
        ),
        ({"best": 0}, "best is 0, and of its validations 2 is"),
        ({"train": [{"update": 1, "seconds": 1, "loss": "x"}]}, "train[0].loss is 'x', and should"),
        (
            {"validations": [{"update": 7, "epoch": 1, "seconds": 1, "scores": {"loss": 1}}]},
            "the validation at update 7 has no mcc",
        ),
    ],
)
def test_a_damaged_record_is_named_in_one_line(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    RECORD.write(tmp_path)
    file = tmp_path / "run.json"
    fields = {**json.loads(file.read_text()), **change}
    file.write_text(json.dumps({name: v for name, v in fields.items() if v is not ...}))
    with pytest.raises(UnreadableRunError) as error:
        RunRecord.read(tmp_path)
    assert str(error.value).startswith(f"{file}: {complaint}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ['{"format": 1,', "[" * 100_000], ids=["half", "nested"])
def test_what_is_no_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UnreadableRunError, match=r"run\.json is no JSON file"):
        RunRecord.read(tmp_path)
