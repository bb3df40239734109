"""Two seeds fine-tuned with layer decay, averaged, validated, and trained on: the real commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tupe_plugin.commands import main
from tupe_plugin.data.glue_tasks import load_task
from tupe_plugin.inference.dev_scores import DevSet
from tupe_plugin.sweep.fairseq_log import read_log
from tupe_plugin.sweep.option_words import options_of
from tupe_plugin.sweep.recipe import command, fine_tuning, from_scratch

from .training_jobs import load_checkpoint, logged, losses

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def averaged(corpus, tmp_path_factory, run_command) -> tuple[Path, str]:
    """A folder with two seeds and their greedy average; what that and its validation printed."""
    folder = tmp_path_factory.mktemp("averaged")
    models = [folder / f"seed{seed}" / "checkpoint_best.pt" for seed in (1, 2)]
    for seed, model in enumerate(models, start=1):
        small = {"arch": "tupe_tiny", "max-positions": 64, "max-epoch": 1, "cpu": True}
        more = {**small, "lr": 2e-4, "seed": seed, "layer-decay": 0.5}
        flags = options_of(load_task("RTE").training_flags)
        options = fine_tuning("RTE", flags, from_scratch(), more)
        model.parent.mkdir()
        run_command(*command(corpus.classification, None, model.parent, options))
    data, output = corpus.classification, folder / "average.pt"
    greedy = run_command("tupe", "average", *models, "-o", output, "--greedy", data, "--cpu")
    validated = run_command(
        *("fairseq-validate", data, "--user-dir", ROOT / "tupe_plugin", "--path", output, "--cpu"),
        *("--task", "sentence_prediction", "--criterion", "sentence_prediction"),
        *("--batch-size", 32, "--log-format", "json"),
    )
    return folder, greedy.stdout + validated.stdout


def test_table_says_what_training_and_fairseq_validate_say(averaged):
    folder, output = averaged
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in output.splitlines()
        if line.startswith("| ")
    ]
    assert rows[0] == ["model, best accuracy first", "accuracy", "average with it", "in"]
    for seed in (1, 2):
        (trained,) = read_log(folder / f"seed{seed}" / "train.log").valid["valid"].values()
        (row,) = [row for row in rows if row[0].endswith(f"seed{seed}/checkpoint_best.pt")]
        assert float(row[1]) == pytest.approx(trained["accuracy"], abs=1e-3)
    (validated,) = logged(output, "valid")
    assert float(rows[-1][1]) == pytest.approx(validated["accuracy"], abs=1e-3)
    assert float(rows[-1][1]) >= max(float(row[1]) for row in rows[2:-1])


@pytest.mark.parametrize(
    ("metric", "labels", "line"),
    [
        ("mmc", True, "tupe average: there is no metric 'mmc'; there is accuracy, "),
        ("accuracy", False, "the split valid has no labels, so no metric can be computed"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_a_model_is(
    averaged, corpus, tmp_path, monkeypatch, capsys, metric, labels, line
):
    monkeypatch.setattr(DevSet, "scores", None)
    data = tmp_path / "data"
    hidden = None if labels else shutil.ignore_patterns("valid.*")
    shutil.copytree(corpus.classification / "input0", data / "input0")
    shutil.copytree(corpus.classification / "label", data / "label", ignore=hidden)
    models = [str(averaged[0] / f"seed{seed}" / "checkpoint_best.pt") for seed in (1, 2)]
    options = ["--greedy", str(data), "--metric", metric, "--cpu"]
    assert main(["average", *models, "-o", str(tmp_path / "out.pt"), *options]) == 1
    last = capsys.readouterr().err.splitlines()[-1]  # before it: two models, two starts
    assert line in last
    assert "wps" not in last


def test_training_goes_on_from_an_average_as_a_new_run(averaged, corpus, tmp_path, run_command):
    folder, _ = averaged
    models = [folder / f"seed{seed}" / "checkpoint_best.pt" for seed in (1, 2)]
    run_command("tupe", "average", *models, "-o", tmp_path / "average.pt")
    states = [load_checkpoint(path)["model"] for path in models]
    mean = load_checkpoint(tmp_path / "average.pt")["model"]
    for name, value in mean.items():
        assert torch.equal(value, ((states[0][name].double() + states[1][name]) / 2).float()), name

    finished = run_command(
        *("fairseq-train", corpus.classification, "--user-dir", ROOT / "tupe_plugin", "--cpu"),
        *("--task", "sentence_prediction", "--criterion", "sentence_prediction"),
        *("--num-classes", 2, "--arch", "tupe_tiny", "--rel-pos"),
        *("--embedding-normalize", "--max-positions", 64, "--init-token", 0, "--batch-size", 8),
        *("--separator-token", 2, "--optimizer", "adam", "--lr", 0, "--lr-scheduler", "fixed"),
        *("--max-update", 3, "--save-dir", tmp_path, "--restore-file", tmp_path / "average.pt"),
        *("--log-format", "json", "--log-interval", 1, "--num-workers", 0),
    )
    assert list(losses(finished.stdout)) == [1, 2, 3]
    after = load_checkpoint(tmp_path / "checkpoint_last.pt")["model"]
    assert all(torch.equal(value, after[name]) for name, value in mean.items())
