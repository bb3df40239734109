"""Data and a pre-trained model that several of the tests with real command lines share."""

from __future__ import annotations

import os
import random
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

import pytest

from . import training_jobs
from .example_scripts import SEARCH_PATH
from .sentence_task import write_sentence_task


class Corpus(NamedTuple):
    pretraining: Path  # for --task masked_lm
    classification: Path  # for --task sentence_prediction, of the same dictionary


class Pretrained(NamedTuple):
    checkpoints: Path
    output: str
    tensorboard: Path


@pytest.fixture(scope="session")
def corpus(tmp_path_factory, run_command) -> Corpus:
    """300 sentences; some words are frequent, which is soon learned; each label has its own."""
    folder = tmp_path_factory.mktemp("corpus")
    draw = random.Random(3)
    splits = {}
    for split, count in (("train", 300), ("valid", 61)):
        lines = []
        for _ in range(count):
            label = draw.randrange(2)
            words = [int(20 * draw.random() ** 3) for _ in range(draw.randint(5, 12))]
            lines.append((" ".join(f"word{20 * label + word}" for word in words), f"label{label}"))
        splits[split] = lines
    classification = write_sentence_task(folder / "classification", splits)
    text = folder / "classification" / "text"
    run_command(
        *("fairseq-preprocess", "--only-source", "--destdir", folder / "pretraining"),
        *("--trainpref", text / "train.input0", "--validpref", text / "valid.input0"),
    )
    return Corpus(folder / "pretraining", classification)


@pytest.fixture(scope="session")
def pretrained(corpus, tmp_path_factory, run_command) -> Pretrained:
    """An uninterrupted pre-training: 16 updates in 2.3 epochs, dropout on, gradients summed up."""
    folder = tmp_path_factory.mktemp("pretrained")
    finished = run_command(
        "fairseq-train",
        *training_jobs.pretraining(corpus.pretraining, folder / "checkpoints"),
        *("--update-freq", 2, "--save-interval-updates", 5, "--max-update", 16),
        *("--tensorboard-logdir", folder / "tensorboard"),
    )
    return Pretrained(folder / "checkpoints", finished.stdout, folder / "tensorboard")


@pytest.fixture
def path_with_recorder(tmp_path: Path) -> str:
    """A PATH on which programs that train only print their arguments, one a line."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("torchrun", "fairseq-train"):
        (folder / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{SEARCH_PATH}"


@pytest.fixture
def last_line(monkeypatch, capsys):
    """Run `fairseq-train` with arguments of which it complains."""
    from fairseq_cli import train

    def run(arguments):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.setattr(sys, "argv", ["fairseq-train", *map(str, arguments)])
        with pytest.raises((Exception, SystemExit)) as caught:
            train.cli_main()
        if isinstance(caught.value, SystemExit):
            if isinstance(caught.value.code, str):  # Python prints it at the end
                return caught.value.code
            return capsys.readouterr().err.splitlines()[-1]
        lines = "".join(traceback.format_exception_only(caught.value)).splitlines()
        assert len(lines) == 1
        return lines[0]

    return run
