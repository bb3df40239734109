"""`--layer-decay` in real jobs: restarts, workers, precisions, hydra."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT

from .example_scripts import run_script
from .test_data_parallel import TWO_WORKERS, assert_same_parameters
from .training_jobs import NO_DROPOUT, USER_DIR, fine_tuning, load_checkpoint

pytestmark = pytest.mark.slow

EXAMPLE = ROOT / "examples" / "finetune" / "layer_decay.sh"
JOB = ("--layer-decay", 0.5, "--max-epoch", 1, "--no-epoch-checkpoints")


def decayed_job(corpus, pretrained, save_dir: Path, *options: object) -> list[str]:
    """38 batches an epoch; 4 depths: embeddings, two layers, heads."""
    model = ("--finetune-from-model", pretrained.checkpoints / "checkpoint_last.pt")
    return fine_tuning(corpus.classification, save_dir, *JOB, *model, *options)


def table(output: str) -> list[list[str]]:
    """Depth, what it is, factor and rate of each row; there must be one table."""
    (rows,) = re.findall(r"learning rates by depth\ndepth .*\n((?: +\d+  .*\n)+)", output)
    return [
        [depth, what.strip(), factor, rate]
        for depth, what, factor, rate in re.findall(
            r"^ +(\d+)  (.*?) +[\d,]+ +(\S+) +(\S+)$", rows, re.MULTILINE
        )
    ]


def test_two_workers_equal_one_and_tell_the_rates(corpus, pretrained, tmp_path, run_command):
    one, two = (
        decayed_job(
            *(corpus, pretrained, tmp_path / name, *NO_DROPOUT, "--num-workers", 1),
            *("--update-freq", update_freq),
        )
        for name, update_freq in (("one", 4), ("two", 2))
    )
    alone = run_command("fairseq-train", *one)
    both = run_command(
        *TWO_WORKERS, *two, "--distributed-backend", "gloo", "--find-unused-parameters"
    )
    assert_same_parameters(tmp_path / "one", tmp_path / "two")
    assert table(alone.stdout) == table(both.stdout)  # one worker prints it
    assert table(alone.stdout) == [
        ["0", "embeddings", "0.0625", "0.000313"],
        ["1", "layer 0", "0.1250", "0.000625"],
        ["2", "layer 1", "0.2500", "0.00125"],
        ["4", "heads", "1.0000", "0.005"],
    ]
    checkpoint = load_checkpoint(tmp_path / "two" / "checkpoint_last.pt")
    assert checkpoint["cfg"]["optimizer"]["layer_decay"] == 0.5
    assert len(checkpoint["last_optimizer_state"]["param_groups"]) == 1


@pytest.mark.parametrize(
    "flags",
    [
        ("--fp16", "--fp16-no-flatten-grads"),
        ("--amp", "--bitfit-terms", "all", "--optimizer", "mfac", "--mfac-num-grads", 13),
    ],
    ids=["adam fp16", "mfac amp bitfit"],
)
def test_a_decay_towards_0_trains_the_heads_alone(flags, corpus, pretrained, tmp_path, run_command):
    job = decayed_job(corpus, pretrained, tmp_path, *flags, "--layer-decay", 1e-9)
    if "mfac" in flags:
        start = job.index("--adam-eps")
        job = job[:start] + job[start + 2 :]
    run_command("fairseq-train", *job, "--max-update", 8)
    before, after = (
        load_checkpoint(folder / "checkpoint_last.pt")["model"]
        for folder in (pretrained.checkpoints, tmp_path)
    )
    encoder = [name for name in after if name.startswith("encoder.sentence_encoder.")]
    for name in encoder:
        assert torch.equal(after[name], before[name]), name
    head = after["classification_heads.sentence_classification_head.out_proj.bias"]
    assert head.abs().min() > 0  # it begins at 0


def test_hydra(corpus, tmp_path, run_command):
    finished = run_command(
        *("fairseq-hydra-train", f"hydra.run.dir={tmp_path}", f"common.user_dir={USER_DIR}"),
        *("task=masked_lm", f"task.data={corpus.pretraining}", "task.tokens_per_sample=32"),
        *("criterion=masked_lm", "optimizer=adam", "+optimizer.layer_decay=0.5"),
        *("lr_scheduler=fixed", "optimization.lr=[0.01]", "optimization.max_update=1"),
        *("dataset.batch_size=8", "checkpoint.no_save=true", "dataset.disable_validation=true"),
        *("+model._name=tupe_tiny", "+model.encoder_layers=1", "+model.max_positions=32"),
    )
    assert [row[0] for row in table(finished.stdout)] == ["0", "1", "3"]


def test_example(path_with_recorder, tmp_path):
    """It is glue.sh with one option more."""
    done = run_script(
        *(EXAMPLE, "RTE", "data", "none", tmp_path / "run", "--seed", 3), PATH=path_with_recorder
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()
    given = dict(itertools.pairwise(words))  # of an option given twice, the last counts
    assert given["--layer-decay"] == "0.95"
    assert given["--seed"] == "3"
