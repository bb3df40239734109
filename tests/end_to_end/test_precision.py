"""Half precision on the CPU: pre-training, fine-tuning from what it has written, and a restart.

`--fp16` and `--memory-efficient-fp16` compute in float16 with a loss scale, `--bf16` in bfloat16;
`--amp` keeps float32 parameters and computes, on a CPU, in bfloat16.
"""

from __future__ import annotations

import math

import pytest
import torch

from .training_jobs import fine_tuning, load_checkpoint, logged, losses, pretraining

pytestmark = pytest.mark.slow

PARAMETERS = {
    "--fp16": torch.float16,
    "--memory-efficient-fp16": torch.float16,
    "--bf16": torch.bfloat16,
    "--amp": torch.float32,
}


@pytest.mark.parametrize("flag", PARAMETERS)
def test_pretraining_and_fine_tuning(flag, corpus, pretrained, tmp_path, run_command):
    save = [flag, "--no-epoch-checkpoints", "--fp16-init-scale", 4]
    job = pretraining(corpus.pretraining, tmp_path / "pretrained", *save, "--update-freq", 2)
    first = run_command("fairseq-train", *job, "--max-update", 12)
    second = run_command("fairseq-train", *job, "--max-update", 16)  # restores the optimizer

    steps = logged(first.stdout, "train_inner") + logged(second.stdout, "train_inner")
    assert [int(step["num_updates"]) for step in steps] == list(range(1, 17))
    assert all(math.isfinite(step["loss"]) and step["gnorm"] > 0 for step in steps)
    assert ("loss_scale" in steps[0]) == ("fp16" in flag or flag == "--amp")
    computed = {**losses(first.stdout), **losses(second.stdout)}
    assert computed == pytest.approx(losses(pretrained.output), rel=0.02)
    if flag == "--amp":
        assert computed != losses(pretrained.output)

    checkpoint = tmp_path / "pretrained" / "checkpoint_last.pt"
    for name, value in load_checkpoint(checkpoint)["model"].items():
        assert value.dtype == torch.float32, name  # always, in fairseq's checkpoints
        assert torch.equal(value.to(PARAMETERS[flag]).float(), value), name

    options = ["--finetune-from-model", checkpoint, "--max-epoch", 1, "--no-save", flag]
    tuned = run_command("fairseq-train", *fine_tuning(corpus.classification, tmp_path, *options))
    steps = [step["loss"] for step in logged(tuned.stdout, "train_inner")]
    assert all(map(math.isfinite, steps))
    assert sum(steps[-10:]) < sum(steps[:10])
    assert logged(tuned.stdout, "valid")[-1]["accuracy"] > 90
