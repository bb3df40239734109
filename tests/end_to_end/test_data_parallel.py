"""Two workers make the same model as one worker that sums up twice as many gradients.

No dropout: both workers draw the same masks from the same seed, where one worker draws two.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from .training_jobs import NO_DROPOUT, fine_tuning, load_checkpoint, losses, pretraining

pytestmark = pytest.mark.slow

FAIRSEQ_TRAIN = Path(sys.executable).with_name("fairseq-train")
TWO_WORKERS = ("torchrun", "--standalone", "--nproc_per_node", 2, FAIRSEQ_TRAIN)
PRETRAIN = (*NO_DROPOUT, "--no-epoch-checkpoints", "--disable-validation", "--num-workers", 1)
FINE_TUNE = (*NO_DROPOUT, "--no-epoch-checkpoints", "--max-epoch", 1, "--batch-size", 7)


def assert_same_parameters(one: Path, two: Path, *, ignore: str = "nothing") -> None:
    """Equal to float32 rounding: gradients are summed up in another order."""
    ours, theirs = (load_checkpoint(folder / "checkpoint_last.pt") for folder in (two, one))
    assert ours["model"].keys() == theirs["model"].keys()
    updates = [state["optimizer_history"][-1]["num_updates"] for state in (ours, theirs)]
    assert updates[0] == updates[1]
    for name, expected in theirs["model"].items():
        if not re.fullmatch(ignore, name):
            torch.testing.assert_close(
                ours["model"][name], expected, rtol=1e-5, atol=1e-5, msg=name
            )


@pytest.fixture(scope="module")
def one_worker_pretrained(corpus, tmp_path_factory, run_command):
    """13 batches an epoch, in groups of 4: the last group is one batch, and that incomplete."""
    folder = tmp_path_factory.mktemp("one_worker")
    job = pretraining(corpus.pretraining, folder, *PRETRAIN)
    finished = run_command("fairseq-train", *job, "--update-freq", 4, "--max-update", 9)
    return folder, losses(finished.stdout), losses(finished.stdout, "padding")


@pytest.mark.parametrize(
    ("backend", "stops"), [("c10d", [6, 9]), ("legacy_ddp", [9])], ids=["c10d", "legacy_ddp"]
)
def test_pretraining(backend, stops, corpus, one_worker_pretrained, tmp_path, run_command):
    """With c10d the two workers are stopped in the middle of an epoch, and go on."""
    job = pretraining(corpus.pretraining, tmp_path, *PRETRAIN, "--update-freq", 2)
    job += ["--distributed-backend", "gloo", "--ddp-backend", backend]
    reported, padding = {}, {}
    for max_update in stops:
        finished = run_command(*TWO_WORKERS, *job, "--max-update", max_update)
        assert not reported.keys() & losses(finished.stdout).keys()
        reported.update(losses(finished.stdout))
        padding.update(losses(finished.stdout, "padding"))
    folder, expected, expected_padding = one_worker_pretrained
    assert reported == pytest.approx(expected, abs=2e-3)  # three decimals are logged
    assert padding == expected_padding
    assert any(padding.values())
    assert_same_parameters(folder, tmp_path)


@pytest.fixture(scope="module")
def one_worker_fine_tuned(corpus, pretrained, tmp_path_factory, run_command):
    """43 batches an epoch, in groups of 4: in the last, one of two workers has a single batch.

    warmup_ratio must count the same updates.
    """
    folder = tmp_path_factory.mktemp("one_worker_fine_tuned")
    job = fine_tuning(corpus.classification, folder, *FINE_TUNE)
    job += ["--restore-file", str(pretrained.checkpoints / "checkpoint_best.pt")]
    job += ["--reset-optimizer", "--reset-dataloader", "--reset-meters"]
    run_command("fairseq-train", *job, "--update-freq", 4)
    return folder


# legacy_ddp gives a zero gradient to the masked-LM head, which is idle; weight decay shrinks it.
@pytest.mark.parametrize(
    ("backend", "ignore"),
    [
        (["c10d", "--find-unused-parameters"], "nothing"),
        (["legacy_ddp"], r"encoder\.lm_head\.(bias|dense\..*|layer_norm\..*)"),
    ],
    ids=["c10d", "legacy_ddp"],
)
def test_fine_tuning(
    backend, ignore, corpus, pretrained, one_worker_fine_tuned, tmp_path, run_command
):
    job = fine_tuning(corpus.classification, tmp_path, *FINE_TUNE, "--update-freq", 2)
    job += ["--finetune-from-model", str(pretrained.checkpoints / "checkpoint_best.pt")]
    job += ["--distributed-backend", "gloo", "--ddp-backend", *backend]
    run_command(*TWO_WORKERS, *job)
    assert_same_parameters(one_worker_fine_tuned, tmp_path, ignore=ignore)


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["c10d", "legacy_ddp"])
def test_two_gpus(backend, corpus, tmp_path, run_command):
    if torch.cuda.device_count() < 2:
        pytest.skip(f"{torch.cuda.device_count()} CUDA device, two are needed")
    job = [*PRETRAIN, "--max-update", 9, "--ddp-backend", backend]
    one = pretraining(corpus.pretraining, tmp_path / "one", *job, "--update-freq", 4)
    run_command("fairseq-train", *one, "--distributed-world-size", 1, gpu=True)
    two = pretraining(corpus.pretraining, tmp_path / "two", *job, "--update-freq", 2)
    run_command(*TWO_WORKERS, *two, gpu=True)
    assert_same_parameters(tmp_path / "one", tmp_path / "two")
