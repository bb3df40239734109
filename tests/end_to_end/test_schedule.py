"""`--lr-scheduler warmup_ratio` in real runs: the learning rate with which each update was made.

Most runs call fairseq-train's `main` in this process, to see the rates exactly and to spare the
imports; two workers run as a command.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .sentence_task import TINY_MODEL, write_sentence_task
from .training_jobs import logged

pytestmark = pytest.mark.slow

PEAK = 2e-3
SENTENCES = 50  # in batches of 8: 7 batches, the last of them incomplete
USER_DIR = Path(__file__).parents[2] / "tupe_plugin"


class Interrupted(Exception):
    """Stands for the power cut."""


@dataclass
class Record:
    rates: list[float] = field(default_factory=list)  # learning rate of each update
    totals: list[int] = field(default_factory=list)  # updates in all, as known at each of them
    made: int = 0


@pytest.fixture(scope="session")
def task_bin(tmp_path_factory):
    draw = random.Random(7)

    def pairs(count):
        words = [
            [f"w{draw.randint(0, 9)}" for _ in range(draw.randint(3, 9))] for _ in range(count)
        ]
        return [(" ".join(line), str(int("w1" in line))) for line in words]

    folder = tmp_path_factory.mktemp("schedule")
    return write_sentence_task(folder, {"train": pairs(SENTENCES), "valid": pairs(5)})


def arguments_for(task_bin, save_dir, *options):
    line = [task_bin, "--user-dir", USER_DIR, "--task", "sentence_prediction"]
    line += ["--num-classes", 2, "--criterion", "sentence_prediction", *TINY_MODEL]
    line += ["--optimizer", "adam", "--lr", PEAK, "--lr-scheduler", "warmup_ratio"]
    line += ["--save-dir", save_dir, "--no-epoch-checkpoints", "--num-workers", 0]
    if "--max-tokens" not in options:
        line += ["--batch-size", 8]
    return [str(part) for part in (*line, *options)]


@pytest.fixture
def train(task_bin, tmp_path, monkeypatch):
    """Run fairseq-train on the task in this process; returns its `Record`."""
    from fairseq import checkpoint_utils
    from fairseq.trainer import Trainer
    from fairseq_cli import train as fairseq_train

    def run(*options, interrupt_after=None, save_dir=tmp_path / "checkpoints"):
        record = Record()
        upstream = Trainer.train_step

        def train_step(trainer, samples, raise_oom=False):
            if trainer.get_num_updates() == interrupt_after:
                raise Interrupted
            rate, before = trainer.get_lr(), trainer.get_num_updates()
            total = trainer.lr_scheduler.total_updates
            output = upstream(trainer, samples, raise_oom)
            record.made = trainer.get_num_updates()
            if record.made > before:
                record.rates.append(rate)
                record.totals.append(total)
            return output

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "train_step", train_step)
            patch.setattr(
                sys, "argv", ["fairseq-train", *arguments_for(task_bin, save_dir, *options)]
            )
            for function in (checkpoint_utils.save_checkpoint, fairseq_train.should_stop_early):
                vars(function).clear()
            fairseq_train.cli_main()
        return record

    return run


def expected_rates(total, *, ratio=0.06, power=1.0, end=0.0):
    """Update by update, from the definition."""
    warmup = round(total * ratio)
    rates = []
    for made in range(total):
        if made < warmup:
            rates.append(PEAK * made / warmup)
        else:
            rates.append(end + (PEAK - end) * ((total - made) / (total - warmup)) ** power)
    return rates


# More in tests/adapters/test_warmup_ratio.py, without a model.
CONFIGURATIONS = {
    "update-freq list": (["--max-epoch", 4, "--update-freq", "4,2,1"], 2 + 4 + 7 + 7, {}),
    "max-update first": (["--max-epoch", 3, "--max-update", 10], 10, {}),
    "max-update only": (["--max-update", 17], 17, {}),
    "one update, ratio 1": (["--max-update", 1, "--warmup-ratio", 1], 1, {"ratio": 1.0}),
    "power and end": (
        ["--max-epoch", 2, "--power", 2, "--end-learning-rate", 1e-4, "--warmup-ratio", 0.3],
        14,
        {"power": 2.0, "end": 1e-4, "ratio": 0.3},
    ),
    "remainder skipped, update-freq list": (
        ["--max-epoch", 3, "--skip-remainder-batch", "--update-freq", "4,2"],
        1 + 3 + 3,
        {},
    ),
    "stop-min-lr": (["--max-epoch", 3, "--stop-min-lr", 1e-9], 21, {}),
    "explicit total that is right": (["--max-epoch", 3, "--total-num-update", 21], 21, {}),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_training_makes_the_updates_that_were_predicted(name, train):
    options, made, schedule = CONFIGURATIONS[name]
    record = train(*options, "--no-save")
    assert record.made == made
    assert set(record.totals) == {made}
    assert record.rates == pytest.approx(expected_rates(made, **schedule), rel=1e-12, abs=1e-18)


def test_batches_of_tokens_are_counted_too(train):
    record = train("--max-epoch", 2, "--max-tokens", 40, "--no-save")
    assert record.made > 14
    assert set(record.totals) == {record.made}


def test_explicit_total_is_kept(train):
    record = train("--max-epoch", 1, "--total-num-update", 70, "--no-save")
    assert record.made == 7
    assert record.rates == pytest.approx(expected_rates(70)[:7], rel=1e-12)


@pytest.mark.parametrize(
    ("options", "interrupt_after"),
    [
        (["--max-epoch", 3], 10),  # resumes at 9, in the middle of the second epoch
        (["--max-epoch", 3], 14),  # between epochs
        (["--max-epoch", 4, "--update-freq", "4,2,1"], 5),
        (["--max-epoch", 3, "--max-update", 19], 17),
    ],
)
def test_resume_gives_every_update_its_rate(train, tmp_path, options, interrupt_after):
    options = [*options, "--save-interval-updates", 3]
    whole = train(*options, save_dir=tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(*options, interrupt_after=interrupt_after)
    resumed = train(*options)
    first = whole.made - len(resumed.rates)
    assert 0 < first <= interrupt_after
    assert resumed.made == whole.made
    assert resumed.rates == whole.rates[first:]


def test_patience_is_counted_over_a_resume(train, tmp_path):
    """Nothing gets better: the validations after epochs 2 and 3 are too many."""
    options = ["--lr", 0, "--patience", 2]
    assert train(*options, "--max-epoch", 9, save_dir=tmp_path / "whole").made == 3 * 7
    assert train(*options, "--max-epoch", 2).made == 2 * 7
    assert train(*options, "--max-epoch", 9).made == 3 * 7
    assert train(*options, "--max-epoch", 9).rates == []  # it has been stopped


def test_updates_lost_to_overflow_are_taken_off(train):
    scale = ["--fp16", "--fp16-init-scale", 2**20]
    record = train("--max-epoch", 3, "--no-save", *scale)
    assert 14 < record.made < 21  # all of them in the first epoch
    assert record.totals[-1] == record.made


def test_two_workers(run_command, task_bin, tmp_path):
    line = ["--max-epoch", 3, "--update-freq", "3,1", "--no-save"]
    line += ["--find-unused-parameters"]  # the masked-LM head
    line += ["--distributed-backend", "gloo", "--log-format", "json", "--log-interval", 1]
    finished = run_command(
        *("torchrun", "--standalone", "--nproc_per_node", 2),
        Path(sys.executable).parent / "fairseq-train",
        *arguments_for(task_bin, tmp_path, *line),
    )
    made = 2 + 4 + 4  # 7 batches: 4 steps of both workers, in groups of 3, 1, 1
    assert f"warmup_ratio: {made} updates in all, 1 of them warm-up" in finished.stdout
    entries = logged(finished.stdout, "train_inner")
    assert [int(entry["num_updates"]) for entry in entries] == list(range(1, made + 1))
    shown = [float(entry["lr"]) for entry in entries]  # after each update, hence of the next one
    assert shown == pytest.approx([*expected_rates(made)[1:], 0.0], rel=1e-5)
