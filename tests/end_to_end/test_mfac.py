"""`--optimizer mfac` in real jobs: precisions, workers, restarts, window sizes, bad settings."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from fairseq.trainer import Trainer

from tupe_plugin.core import window_settings

from .test_bitfit import assert_only_terms_moved
from .test_data_parallel import TWO_WORKERS, assert_same_parameters
from .training_jobs import (
    NO_DROPOUT,
    fine_tuning,
    load_checkpoint,
    logged,
    losses,
)

pytestmark = pytest.mark.slow

WINDOW = ("--mfac-num-grads", 13, "--mfac-damping", 1e-3, "--mfac-momentum", 0.5)
# 38 batches an epoch; 19 updates with two of them in each.
JOB = (*WINDOW, "--lr", 0.002, "--update-freq", 2, "--max-epoch", 1, "--no-epoch-checkpoints")


def mfac_job(data: Path, save_dir: Path, *options: object) -> list[str]:
    """The small fine-tuning job with M-FAC in Adam's place."""
    job = fine_tuning(data, save_dir, *JOB, *options)
    job[job.index("adam")] = "mfac"
    start = job.index("--adam-eps")
    return job[:start] + job[start + 2 :]


def window_of(folder: Path) -> dict:
    state = load_checkpoint(folder / "checkpoint_last.pt")["last_optimizer_state"]
    return state["fisher_window"]


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory, run_command):
    """An uninterrupted run in float32."""
    folder = tmp_path_factory.mktemp("mfac")
    job = mfac_job(corpus.classification, folder, "--save-interval-updates", 5)
    return folder, run_command("fairseq-train", *job)


# The published setting; and a tenth of each gradient, which takes longer.
@pytest.mark.parametrize(
    ("density", "damping", "lr", "epochs"), [(1, 1e-6, 1e-4, 1), (0.1, 1e-5, 3e-4, 2)]
)
def test_learns(density, damping, lr, epochs, corpus, pretrained, tmp_path, run_command):
    window = ("--mfac-num-grads", 512, "--mfac-damping", damping, "--mfac-momentum", 0)
    window += ("--mfac-density", density, "--max-epoch", epochs)
    model = ("--finetune-from-model", pretrained.checkpoints / "checkpoint_last.pt")
    options = (*window, "--lr", lr, "--update-freq", 1, *NO_DROPOUT, *model, "--no-save")
    job = mfac_job(corpus.classification, tmp_path, *options)
    finished = run_command("fairseq-train", *job)
    assert logged(finished.stdout, "valid")[-1]["accuracy"] > 90


def test_window_slides_and_is_saved(whole):
    folder, finished = whole
    steps = logged(finished.stdout, "train_inner")
    assert [int(step["num_updates"]) for step in steps] == list(range(1, 20))
    assert {step["mfac_skipped"] for step in steps} == {0}
    # Measured on steps 1, 2, 4, 8 and 16, and told from the next on.
    assert all(0 < step["mfac_error"] < 1e-3 for step in steps[1:])
    assert len({step["mfac_error"] for step in steps[1:]}) > 1
    window = window_of(folder)
    assert (window["num_grads"], window["num_pushed"]) == (13, 19)
    assert sum(len(block) for block in window["rows"]) == 13


@pytest.mark.parametrize(
    "flags",
    [
        ("--fp16",),
        ("--memory-efficient-fp16",),
        ("--amp",),
        ("--mfac-dtype", "bfloat16"),
    ],
    ids=" ".join,
)
def test_precisions_and_resume(flags, whole, corpus, tmp_path, run_command):
    """The first losses are those of float32: a forgotten loss scale would change every step."""
    job = [*flags, "--fp16-init-scale", 128]
    job = mfac_job(corpus.classification, tmp_path, *job)
    first = run_command("fairseq-train", *job, "--max-update", 8, "--total-num-update", 19)
    second = run_command("fairseq-train", *job)
    computed = {**losses(first.stdout), **losses(second.stdout)}
    assert list(computed) == list(range(1, 20))
    expected = losses(whole[1].stdout)
    assert [computed[k] for k in range(1, 7)] == pytest.approx(
        [expected[k] for k in range(1, 7)], rel=0.02
    )
    assert all(map(math.isfinite, computed.values()))
    window = window_of(tmp_path)
    assert window["num_pushed"] == 19
    if "--mfac-dtype" in flags:
        assert window["dtype"] == flags[-1]
        assert {block.dtype for block in window["rows"]} == {torch.int16}  # the halves, as bits


def test_biases_in_the_window_and_the_others_frozen_is_bitfit(
    corpus, pretrained, tmp_path, run_command
):
    base = pretrained.checkpoints / "checkpoint_best.pt"
    start = ("--finetune-from-model", base, "--max-update", 5)
    options = ("--mfac-parameters", "biases", "--mfac-rest", "frozen", *start)
    run_command("fairseq-train", *mfac_job(corpus.classification, tmp_path, *options))
    assert_only_terms_moved(base, tmp_path / "checkpoint_last.pt", "all", torch.float32)


def test_two_workers_equal_one(corpus, tmp_path, run_command):
    """Two workers, stopped in mid-epoch, go on; in the second epoch one worker takes over."""
    one, other = tmp_path / "one", tmp_path / "other"
    options = (*NO_DROPOUT, "--total-num-update", 38, "--num-workers", 1)
    # Adam's epsilon keeps it from making steps of rounding.
    options += ("--mfac-parameters", "no-embeddings", "--adam-eps", 1e-3)
    gloo = ("--distributed-backend", "gloo", "--find-unused-parameters", "--update-freq", 1)
    run_command("fairseq-train", *mfac_job(corpus.classification, one, *options, "--max-epoch", 2))
    both = (*TWO_WORKERS, *mfac_job(corpus.classification, other, *options, *gloo))
    reported = losses(run_command(*both, "--max-update", 8).stdout)
    assert window_of(other)["num_pushed"] == 8
    resumed = run_command(*both)
    assert window_of(other)["num_pushed"] == 19
    alone = mfac_job(corpus.classification, other, *options, "--max-epoch", 2)
    last = run_command("fairseq-train", *alone)
    assert window_of(other)["num_pushed"] == 38
    assert [*reported, *losses(resumed.stdout), *losses(last.stdout)] == list(range(1, 39))
    assert_same_parameters(one, other)


def test_window_left_out_of_checkpoints(whole, corpus, tmp_path, run_command):
    job = mfac_job(corpus.classification, tmp_path, "--mfac-no-save-window")
    first = run_command("fairseq-train", *job, "--max-update", 8)
    assert "begins with an empty window, and is not the run" in first.stdout
    resumed = run_command("fairseq-train", *job)
    assert "lacks the window's gradients" in resumed.stdout
    sizes = [(f / "checkpoint_last.pt").stat().st_size for f in (tmp_path, whole[0])]
    assert sizes[0] < sizes[1] / 2


@pytest.mark.parametrize(
    ("option", "parts"),
    [
        (
            "--mfac-num-grads 16384",
            ("M-FAC's window of 16384 gradients x ", " bytes) on cpu", "--mfac-dtype", "BitFit"),
        ),
        ("--mfac-device cuda", ("window_device='cuda' (--mfac-device) cannot be used here: ",)),
    ],
)
def test_what_the_machine_lacks_is_said_in_one_line_before_training(
    option, parts, corpus, tmp_path, last_line, monkeypatch
):
    monkeypatch.setattr(Trainer, "train_step", lambda *_: pytest.fail("training has started"))
    monkeypatch.setattr(window_settings, "available_bytes", lambda _: 10**9)
    line = last_line([*mfac_job(corpus.classification, tmp_path), *option.split()])
    assert [part for part in ("fairseq-train: error: ", *parts) if part not in line] == [], line
