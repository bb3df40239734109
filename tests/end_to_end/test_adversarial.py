"""`--criterion adversarial` in real jobs: both tasks, two workers, precisions."""

from __future__ import annotations

import math

import pytest

from .test_data_parallel import TWO_WORKERS, assert_same_parameters
from .test_roberta import job as on_roberta
from .training_jobs import NO_DROPOUT, fine_tuning, logged, losses, pretraining

pytestmark = pytest.mark.slow

SHORT = ("--max-epoch", 1, "--no-epoch-checkpoints")
FREELB = (  # a word of the small model has an embedding of length 0.08: noise well below that
    *("--adv-method", "freelb", "--adv-epsilon", 0.005, "--adv-step-size", 0.002),
    *("--adv-init-size", 0.002, "--rdrop-alpha", 0.5, "--amp"),
)


def made_adversarial(job: list[str]) -> list[str]:
    """A small job with another criterion."""
    job[job.index("--criterion") + 1] = "adversarial"
    return job


@pytest.mark.parametrize(
    "options",
    [
        ("--fp16", "--adv-epsilon", 3.0),
        ("--fp16", "--adv-method", "smart", "--adv-epsilon", 0.1, "--adv-step-size", 0.1),
        FREELB,
    ],
    ids=["attention fp16", "smart fp16", "freelb rdrop amp"],
)
def test_fine_tuning_learns(options, corpus, pretrained, tmp_path, run_command):
    job = fine_tuning(corpus.classification, tmp_path, *options, "--max-epoch", 2, "--no-save")
    job += ["--finetune-from-model", str(pretrained.checkpoints / "checkpoint_last.pt")]
    job += ["--best-checkpoint-metric", "mcc", "--maximize-best-checkpoint-metric"]
    output = run_command("fairseq-train", *made_adversarial(job)).stdout
    steps = logged(output, "train_inner")
    assert all(math.isfinite(step["loss"]) for step in steps)
    assert sum(step["adversarial_loss"] > 0 for step in steps) > len(steps) / 2
    assert logged(output, "valid")[-1]["accuracy"] > 90
    assert "adversarial_loss" not in logged(output, "valid")[-1]


def test_two_workers_equal_one_in_fine_tuning(corpus, tmp_path, run_command):
    """RoBERTa, and PGD from zero noise: no worker draws anything.  Two steps: gradients meet noise.

    R-Drop on TUPE is in test_rdrop.py, FGM on TUPE below.
    """
    options = (*NO_DROPOUT, *SHORT, "--adv-method", "pgd", "--adv-steps", 2, "--rdrop-alpha", 0.5)
    one, two = (
        on_roberta(made_adversarial(fine_tuning(corpus.classification, tmp_path / name, *options)))
        for name in ("one", "two")
    )
    run_command("fairseq-train", *one, "--update-freq", 4)
    gloo = ("--distributed-backend", "gloo", "--find-unused-parameters", "--update-freq", 2)
    run_command(*TWO_WORKERS, *two, *gloo)
    assert_same_parameters(tmp_path / "one", tmp_path / "two")


def test_two_workers_equal_one_in_pretraining(corpus, tmp_path, run_command):
    """Every parameter is used here, so that c10d's hooks fire for each one."""
    options = (*NO_DROPOUT, *SHORT, "--num-workers", 1, "--adv-method", "fgm")
    one, two = (
        made_adversarial(pretraining(corpus.pretraining, tmp_path / name, *options))
        for name in ("one", "two")
    )
    single = run_command("fairseq-train", *one, "--update-freq", 4).stdout
    gloo = ("--distributed-backend", "gloo", "--update-freq", 2)
    double = run_command(*TWO_WORKERS, *two, *gloo).stdout
    assert losses(double) == pytest.approx(losses(single), abs=2e-3)
    assert_same_parameters(tmp_path / "one", tmp_path / "two")


def test_attention_noise_with_two_workers_and_in_pretraining(corpus, tmp_path, run_command):
    """Noise is drawn for each batch, so one worker's differs; fairseq compares gradient norms."""
    loud = ("--adv-site", "logits", "--adv-epsilon", 30, "--adv-init-size", 3)
    job = pretraining(corpus.pretraining, tmp_path, *SHORT, *loud, "--no-save")
    gloo = ("--distributed-backend", "gloo", "--update-freq", 2)
    output = run_command(*TWO_WORKERS, *made_adversarial(job), *gloo).stdout
    steps = logged(output, "train_inner")
    assert steps
    assert steps[-1]["adversarial_loss"] > 0
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert "ppl" in logged(output, "valid")[-1]
