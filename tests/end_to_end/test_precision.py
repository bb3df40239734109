"""Every precision that fairseq offers trains, resumes and fine-tunes; on CPU and on a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import RunCommand

from . import training_jobs
from .conftest import Corpus

pytestmark = pytest.mark.slow

UPDATES = 12
PRECISIONS = {
    "fp32": [],
    "fp16": ["--fp16"],
    "fp16-not-flat": ["--fp16", "--fp16-no-flatten-grads"],
    "fp16-overflowing": ["--fp16", "--fp16-init-scale", 2**30],
    "memory-efficient-fp16": ["--memory-efficient-fp16"],
    "bf16": ["--bf16"],
    "memory-efficient-bf16": ["--memory-efficient-bf16"],
    "amp": ["--amp"],
}
HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


def train_and_resume(
    run_command: RunCommand, corpus: Corpus, folder: Path, precision: str, *, gpu: bool
) -> str:
    """Output of pre-training in two parts; then a model is fine-tuned from it."""
    options = PRECISIONS[precision]
    job = training_jobs.pretraining(corpus.pretraining, folder / "pretrained", *options)
    first = run_command("fairseq-train", *job, "--max-update", UPDATES // 2, gpu=gpu)
    second = run_command("fairseq-train", *job, "--max-update", UPDATES, gpu=gpu)
    assert f"@ {UPDATES // 2} updates)" in second.stdout

    tuned = run_command(
        "fairseq-train",
        *training_jobs.fine_tuning(corpus.classification, folder / "fine-tuned", *options),
        *("--restore-file", folder / "pretrained" / "checkpoint_last.pt", "--max-epoch", 2),
        *("--reset-optimizer", "--reset-dataloader", "--reset-meters", "--reset-lr-scheduler"),
        gpu=gpu,
    )
    assert training_jobs.logged(tuned.stdout, "valid")[-1]["accuracy"] > 90
    return first.stdout + second.stdout


def check(output: str, folder: Path, precision: str) -> None:
    losses = [entry["loss"] for entry in training_jobs.logged(output, "train_inner")]
    assert len(losses) >= UPDATES
    assert losses[-1] < losses[0]
    assert ("gradient overflow detected" in output) == (precision == "fp16-overflowing")

    # Checkpoints are in float32 whatever the precision; rounding tells which values they hold. Only
    # the memory-efficient precisions train no float32 weights.
    model = torch.load(folder / "pretrained" / "checkpoint_last.pt", weights_only=False)["model"]
    values = torch.cat([value.flatten() for value in model.values()])
    for name, dtype in HALF.items():
        rounded = precision == f"memory-efficient-{name}"
        assert torch.equal(values.to(dtype).float(), values) == rounded


@pytest.mark.parametrize("precision", PRECISIONS)
def test_on_cpu(run_command: RunCommand, corpus: Corpus, tmp_path: Path, precision: str) -> None:
    output = train_and_resume(run_command, corpus, tmp_path, precision, gpu=False)
    check(output, tmp_path, precision)
    assert "Warning" not in output


@pytest.mark.gpu
@pytest.mark.parametrize("precision", PRECISIONS)
def test_on_gpu(run_command: RunCommand, corpus: Corpus, tmp_path: Path, precision: str) -> None:
    output = train_and_resume(run_command, corpus, tmp_path, precision, gpu=True)
    check(output, tmp_path, precision)
