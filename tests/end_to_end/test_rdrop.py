"""`--criterion rdrop` in real jobs: it learns; with --fp16; two workers equal one."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_data_parallel import TWO_WORKERS, assert_same_parameters
from .training_jobs import NO_DROPOUT, fine_tuning, logged

pytestmark = pytest.mark.slow


def rdrop_job(data: Path, save_dir: Path, *options: object) -> list[str]:
    """The small fine-tuning job with R-Drop."""
    job = fine_tuning(data, save_dir, *options)
    job[job.index("--criterion") + 1] = "rdrop"
    return job


def test_learns_in_half_precision(corpus, tmp_path, run_command):
    options = ("--rdrop-alpha", 0.5, "--fp16", "--max-epoch", 3, "--no-epoch-checkpoints")
    job = rdrop_job(corpus.classification, tmp_path, *options)
    job += ["--best-checkpoint-metric", "mcc", "--maximize-best-checkpoint-metric"]
    output = run_command("fairseq-train", *job).stdout
    steps = logged(output, "train_inner")
    assert all(step["rdrop_divergence"] > 0 for step in steps)
    for step in steps:
        whole = step["task_loss"] + 0.5 * step["rdrop_divergence"]
        assert step["loss"] == pytest.approx(whole, abs=2e-3)
    assert logged(output, "valid")[-1]["accuracy"] > 90
    assert {"mcc", "loss"} <= logged(output, "valid")[-1].keys()
    assert "rdrop_divergence" not in logged(output, "valid")[-1]


def test_two_workers_equal_one_and_the_plain_criterion(corpus, tmp_path, run_command):
    """Without dropout the passes are equal, so all three train the same model."""
    options = (*NO_DROPOUT, "--max-epoch", 1, "--no-epoch-checkpoints")
    folders = [tmp_path / name for name in ("plain", "one", "two")]
    plain, one, two = (
        make(corpus.classification, folder, *options)
        for make, folder in zip((fine_tuning, rdrop_job, rdrop_job), folders, strict=True)
    )
    run_command("fairseq-train", *plain, "--update-freq", 4)
    run_command("fairseq-train", *one, "--update-freq", 4)
    gloo = ("--distributed-backend", "gloo", "--find-unused-parameters", "--update-freq", 2)
    run_command(*TWO_WORKERS, *two, *gloo)
    assert_same_parameters(folders[0], folders[1])
    assert_same_parameters(folders[0], folders[2])
