"""The same command again: after `kill -9` the same parameters, bit for bit; after the end, none."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tupe_plugin.compat.save_dir_lock import save_dir_lock

from .training_jobs import (
    differences,
    fine_tuning,
    load_checkpoint,
    logged,
    losses,
    pretraining,
    training_state,
)

pytestmark = pytest.mark.slow

KILLED_TRAIN = Path(__file__).with_name("killed_train.py")


def assert_same_result(resumed: Path, uninterrupted: Path) -> None:
    for name in ("checkpoint_last.pt", "checkpoint_best.pt"):
        ours, theirs = (
            training_state(load_checkpoint(folder / name)) for folder in (resumed, uninterrupted)
        )
        assert list(differences(ours, theirs)) == []
    assert sorted(path.name for path in resumed.iterdir()) == sorted(
        path.name for path in uninterrupted.iterdir()
    )


@pytest.mark.parametrize(
    ("moment", "first", "num_workers"),
    [
        ("training", 11, 1),  # goes on in the middle of an epoch, and with another loader
        ("writing", 8, 0),  # goes on at the beginning of an epoch
        ("copying to checkpoint_last", 8, 0),
    ],
)
def test_killed_pretraining(moment, first, num_workers, corpus, pretrained, tmp_path, run_command):
    job = pretraining(corpus.pretraining, tmp_path, "--num-workers", num_workers)
    job += ["--update-freq", "2", "--save-interval-updates", "5", "--max-update", "16"]
    killed = run_command("python", KILLED_TRAIN, moment, *job, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stdout

    resumed = run_command("fairseq-train", *job)
    expected = losses(pretrained.output)
    assert losses(resumed.stdout) == {update: expected[update] for update in range(first, 17)}
    assert_same_result(tmp_path, pretrained.checkpoints)


def test_pretraining_resumed_with_other_batches(corpus, pretrained, tmp_path, run_command):
    """What an epoch has not seen when it is resumed, and what it has seen before, is all of it."""
    shutil.copy(pretrained.checkpoints / "checkpoint_2_10.pt", tmp_path / "checkpoint_last.pt")
    job = pretraining(corpus.pretraining, tmp_path, "--batch-size", 5, "--max-epoch", 3)
    resumed = run_command("fairseq-train", *job).stdout

    def sentences(output, epoch, last_update=1000):
        entries = logged(output, "train_inner")
        return sum(
            entry["bsz"]
            for entry in entries
            if entry["epoch"] == epoch and entry["num_updates"] <= last_update
        )

    seen, rest = sentences(pretrained.output, 2, last_update=10), sentences(resumed, 2)
    assert seen > 0
    assert seen + rest == sentences(resumed, 3)
    assert f"epoch 2 goes on with the {rest:.0f} sentences that it has not seen" in resumed


def test_killed_fine_tuning(corpus, pretrained, tmp_path, run_command):
    """What names the pre-trained model is for the first start; the TUPE authors' options, too."""
    start = pretrained.checkpoints / "checkpoint_last.pt"
    options = ["--save-interval-updates", 5, "--max-epoch", 1, "--update-freq", 2]
    options += ["--best-checkpoint-metric", "accuracy", "--maximize-best-checkpoint-metric"]
    ours = ["--finetune-from-model", start]
    theirs = ["--restore-file", start, "--reset-optimizer", "--reset-dataloader", "--reset-meters"]
    whole = run_command(
        "fairseq-train", *fine_tuning(corpus.classification, tmp_path / "whole", *options, *ours)
    )
    expected = losses(whole.stdout)
    for name, named in (("ours", ours), ("theirs", theirs)):
        job = fine_tuning(corpus.classification, tmp_path / name, *options, *named)
        killed = run_command("python", KILLED_TRAIN, "training", *job, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stdout

        resumed = run_command("fairseq-train", *job)
        assert losses(resumed.stdout) == {update: expected[update] for update in range(11, 20)}
        assert_same_result(tmp_path / name, tmp_path / "whole")


def test_finished_job(corpus, pretrained, tmp_path, run_command):
    """Started again, it makes no update, writes nothing and says why."""
    shutil.copytree(pretrained.checkpoints, tmp_path, dirs_exist_ok=True)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    job = pretraining(corpus.pretraining, tmp_path, "--update-freq", 2, "--max-update", 16)
    again = run_command("fairseq-train", *job).stdout
    assert losses(again) == {}
    assert again.count("this job is finished: it has made 16 updates, and --max-update is 16") == 1
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    assert before == after


def test_second_job_in_a_folder(corpus, tmp_path, run_command):
    with save_dir_lock(tmp_path):
        second = run_command(
            "fairseq-train", *pretraining(corpus.pretraining, tmp_path), check=False
        )
    assert second.returncode == 1
    assert "Traceback" not in second.stdout
    line = second.stdout.splitlines()[-1]
    assert line.startswith(f"fairseq-train: error: --save-dir {tmp_path} is in use by another job")
    assert list(tmp_path.iterdir()) == []
