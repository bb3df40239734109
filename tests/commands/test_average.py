"""`tupe average`: what is written, what is refused, and the tables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.checkpoint.written import write_checkpoint
from tupe_plugin.commands import average, main
from tupe_plugin.compat.metric_direction import Metric

OPTIONS = {"_name": "tupe_tiny", "encoder_attention_heads": 2, "dropout": 0.1}


def weights(seed: int, *, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """One start, and what the seed has made of it."""
    generator = torch.Generator().manual_seed(seed)
    change = torch.randn(3, 5, generator=generator)
    made = {"weight": (torch.arange(15.0).view(3, 5) - 7 + change / 3).to(dtype)}
    return {**made, "bias": torch.full((7,), float(seed), dtype=dtype), "table": torch.arange(11)}


def write(path: Path, model: Any, **parts: Any) -> Path:
    cfg = {"model": OPTIONS, "task": {"data": str(path)}}
    return write_checkpoint(path, model, **{"cfg": cfg, **parts})


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """Three models, whose bias is 0, 1 and 2."""
    return [write(tmp_path / f"{seed}.pt", weights(seed)) for seed in range(3)]


def read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


class DevSetOfBiases:
    """In the place of a dev set: the accuracy is 100 - |bias - 0.4|, loss and distance are bias."""

    metric = Metric.called("accuracy")

    def __init__(self, checkpoint: Path, data: Path, **options: object) -> None:
        assert checkpoint.is_file()
        assert data.name == "bin"

    def check_metric(self, metric: Metric) -> None:
        assert metric.name in ("accuracy", "loss", "distance")

    def score(self, model: dict[str, Tensor], metric: Metric) -> float:
        bias = float(model["bias"][0])
        values = {"accuracy": 100 - abs(bias - 0.4), "loss": bias, "distance": bias}
        return metric.goodness(values[metric.name])


@pytest.fixture
def dev_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(average, "DevSet", DevSetOfBiases)


def call(*arguments: object) -> int:
    return main(["average", *map(str, arguments)])


# ---- what is written


def test_uniform_mean_of_the_models(models: list[Path], tmp_path: Path, capsys) -> None:
    out = tmp_path / "out.pt"
    assert call(*models, "-o", out) == 0
    assert capsys.readouterr().out == f"wrote {out}: the average of 3 of 3 models\n"
    written = read(out)
    assert torch.equal(written["model"]["bias"], torch.ones(7))
    assert torch.equal(written["model"]["table"], torch.arange(11))
    expected = torch.stack([read(path)["model"]["weight"] for path in models]).double().mean(0)
    assert torch.equal(written["model"]["weight"], expected.float())


def test_configuration_is_the_first_ones_and_the_run_begins_anew(
    models: list[Path], tmp_path: Path
) -> None:
    call(models[2], models[0], "-o", tmp_path / "out.pt")
    written = read(tmp_path / "out.pt")
    assert written["cfg"] == read(models[2])["cfg"]
    assert written["task_state"] == {"some": 1}
    assert "last_optimizer_state" not in written
    assert written["optimizer_history"] == [
        {
            "optimizer_name": "FairseqAdam",
            "criterion_name": "Some",
            "lr_scheduler_state": {},
            "num_updates": 0,
        }
    ]
    extra = written["extra_state"]
    assert (extra["train_iterator"]["epoch"], "best" in extra) == (1, False)
    assert extra["averaged"] == [str(models[2]), str(models[0])]


@pytest.mark.parametrize("greedy", [False, True])
def test_models_from_other_starts_get_a_warning(
    greedy: bool, models: list[Path], tmp_path: Path, capsys, dev_set: None
) -> None:
    (tmp_path / "bin").mkdir()
    how = ["-o", tmp_path / "out.pt", *(["--greedy", tmp_path / "bin"] if greedy else [])]
    start = weights(0)
    assert call(*models[:2], *how) == 0
    assert "warning" not in capsys.readouterr().err

    began = {"checkpoint": {"restore_file": "pretrained.pt"}, "model": OPTIONS}
    write(models[2], {**start, "weight": -start["weight"]}, cfg=began)
    assert call(*models, *how) == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert f"the cosine with {models[0]} (no --restore-file) is, of {models[2]}" in warning
    assert "(--restore-file pretrained.pt): -1.00; of models fine-tuned from one" in warning
    assert str(models[1]) not in warning


def test_models_of_two_tasks_get_a_warning(models: list[Path], tmp_path: Path, capsys) -> None:
    for path, task in zip(models, ("CoLA", "CoLA", "MRPC"), strict=True):
        data = str(tmp_path / path.stem / f"{task}-bin")
        cfg = {"model": OPTIONS, "task": {"data": data, "num_classes": 2}}
        write(path, weights(int(path.stem)), cfg=cfg)
    assert call(*models[:2], "-o", tmp_path / "out.pt") == 0
    assert capsys.readouterr().err == ""
    assert call(*models, "-o", tmp_path / "out.pt") == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert f"learned several tasks: {models[0]} on CoLA, " in warning
    assert warning.endswith(f"{models[2]} on MRPC")


def test_real_numbers_among_the_options_may_differ(models: list[Path], tmp_path: Path) -> None:
    other = {"model": {**OPTIONS, "dropout": 0.3, "bitfit_terms": "all", "_name": "tupe"}}
    write(models[1], weights(1), cfg=other)
    assert call(*models, "-o", tmp_path / "out.pt") == 0


def test_output_is_replaced_as_a_whole(models: list[Path], tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "out.pt"
    out.write_text("before")

    def full_disk(state: object, path: Path) -> None:
        path.write_text("half of it")
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_disk)
        assert call(*models, "-o", out) == 1
    assert out.read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"0.pt", "1.pt", "2.pt", "out.pt"}
    assert call(*models, "-o", out) == 0
    assert read(out)["model"]["bias"][0] == 1


# ---- the tables


@pytest.mark.usefixtures("dev_set")
class TestTables:
    def test_greedy(self, models: list[Path], tmp_path: Path, capsys) -> None:
        """0 (99.6), 1 (99.4): their mean 0.5 is better; with 2 it is 1, worse."""
        out = tmp_path / "out.pt"
        assert call(models[2], models[1], models[0], "-o", out, "--greedy", "bin") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:-1]] == [
            [str(models[0]), "99.6000", "99.6000", "yes"],
            [str(models[1]), "99.4000", "99.9000", "yes"],
            [str(models[2]), "98.4000", "99.4000", "no"],
            ["average of 2", "99.9000", "", ""],
        ]
        assert lines[-1] == f"wrote {out}: the average of 2 of 3 models"
        assert read(out)["model"]["bias"][0] == 0.5
        assert read(out)["extra_state"]["averaged"] == [str(models[0]), str(models[1])]

    @pytest.mark.parametrize("metric", ["loss", "distance"])
    def test_less_is_better_of_a_loss_and_where_the_job_said_so(
        self, metric: str, models: list[Path], tmp_path: Path, capsys, monkeypatch
    ) -> None:
        if metric == "distance":
            monkeypatch.setattr(DevSetOfBiases, "metric", Metric(metric, more_is_better=False))
        options = ("--greedy", "bin", "--metric", metric)
        assert call(*models, "-o", tmp_path / "out.pt", *options) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[2] == f"| {models[0]} | 0.0000 | 0.0000 | yes |"
        assert lines[3] == f"| {models[1]} | 1.0000 | 0.5000 | no |"
        assert read(tmp_path / "out.pt")["model"]["bias"][0] == 0

    def test_uniform(self, models: list[Path], tmp_path: Path, capsys) -> None:
        assert call(*models, "-o", tmp_path / "out.pt", "--evaluate", "bin") == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "| model | accuracy |"
        assert lines[2:6] == [
            f"| {models[0]} | 99.6000 |",
            f"| {models[1]} | 99.4000 |",
            f"| {models[2]} | 98.4000 |",
            "| average of 3 | 99.4000 |",
        ]

    def test_a_score_that_is_no_number(self, models, tmp_path: Path, monkeypatch, capsys) -> None:
        monkeypatch.setattr(DevSetOfBiases, "score", lambda *_: float("nan"))
        assert call(*models, "-o", tmp_path / "out.pt", "--greedy", "bin") == 1
        assert "score of" in capsys.readouterr().err
        assert not (tmp_path / "out.pt").exists()


# ---- what is refused


def refuse(capsys, *arguments: object) -> str:
    """The one line of the error."""
    assert call(*arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tupe average: ")
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("tupe average: ").rstrip()


def test_bad_paths(models: list[Path], tmp_path: Path, capsys) -> None:
    before = [path.read_bytes() for path in models]
    out = tmp_path / "out.pt"
    link = tmp_path / "link.pt"
    os.link(models[1], link)
    assert "alone is no average" in refuse(capsys, models[0], "-o", out)
    missing = tmp_path / "missing.pt"
    assert refuse(capsys, models[0], missing, "-o", out) == f"no such checkpoint: {missing}"
    assert (
        refuse(capsys, *models, link, "-o", out) == f"{link} is given twice and would count twice"
    )
    for place in (models[1], link, tmp_path / ".." / tmp_path.name / "1.pt"):
        assert "is one of the inputs" in refuse(capsys, *models, "-o", place)
    assert "there is no folder" in refuse(capsys, *models, "-o", tmp_path / "absent" / "out.pt")
    assert "needs --greedy DATA or" in refuse(capsys, *models, "-o", out, "--metric", "mcc")
    assert not out.exists()
    assert [path.read_bytes() for path in models] == before


def test_a_mismatch_names_the_files(models: list[Path], tmp_path: Path, capsys) -> None:
    write(models[1], {**weights(1), "bias": torch.ones(5)})
    error = refuse(capsys, *models, "-o", tmp_path / "out.pt")
    assert error == f"bias is 7 in {models[0]} and 5 in {models[1]}"


def test_models_that_compute_differently(models: list[Path], tmp_path: Path, capsys) -> None:
    """The same shapes, other heads; a real number, which an older file does not name."""
    write(models[2], weights(2), cfg={"model": {**OPTIONS, "encoder_attention_heads": 4}})
    assert refuse(capsys, *models, "-o", tmp_path / "out.pt") == (
        f"{models[0]} was trained with --encoder-attention-heads 2, and {models[2]} with "
        "--encoder-attention-heads 4: their average would be neither"
    )
    write(models[2], weights(2), cfg={"model": {**OPTIONS, "layer_norm_eps": 1e-12}})
    error = refuse(capsys, *models, "-o", tmp_path / "out.pt")
    assert f"with --layer-norm-eps 1e-05, and {models[2]} with --layer-norm-eps 1e-12" in error


def test_files_that_hold_no_model_alone(models: list[Path], tmp_path: Path, capsys) -> None:
    """What else is no checkpoint: `tests/checkpoint/`."""
    write(models[1], weights(1), criterion={"weight": torch.ones(1)})
    assert "its criterion has parameters" in refuse(capsys, *models, "-o", tmp_path / "out.pt")
    models[1].write_bytes(b"")
    error = refuse(capsys, *models, "-o", tmp_path / "out.pt")
    assert error == f"{models[1]} (0 bytes) is no checkpoint, or an incomplete one"


@pytest.mark.parametrize("name", ["loss", "task_loss", "rdrop_divergence", "ppl", "accuracy"])
def test_less_is_better_of_every_loss(name: str) -> None:
    assert Metric.called(name).more_is_better == (name == "accuracy")
