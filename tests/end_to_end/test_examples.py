"""The scripts in examples/: their arithmetic, and how they begin and end."""

from __future__ import annotations

import argparse
import itertools
import os
import signal
from pathlib import Path

import pytest
from fairseq.dataclass.utils import gen_parser_from_dataclass

from tests.conftest import ROOT
from tests.end_to_end.example_scripts import (
    PATIENCE,
    SEARCH_PATH,
    run_script,
    start_script,
    wait_for,
)
from tests.end_to_end.training_jobs import running
from tupe_plugin.commands import main
from tupe_plugin.core.adversarial_methods import DEFAULTS
from tupe_plugin.criterions.adversarial_options import AdversarialConfig, settings_of

PRETRAIN = ROOT / "examples" / "pretrain" / "tupe_base.sh"
FINETUNE = ROOT / "examples" / "finetune"
SMALL = (
    *("--cpu", "--arch", "tupe_tiny", "--encoder-layers", 1, "--encoder-embed-dim", 16),
    *("--encoder-ffn-embed-dim", 32, "--encoder-attention-heads", 2, "--max-positions", 64),
)


@pytest.mark.parametrize(
    "script",
    [path for path in sorted((ROOT / "examples").rglob("*.sh")) if os.access(path, os.X_OK)],
    ids=lambda path: path.name,
)
def test_commands_that_are_not_on_the_path_are_said_in_one_line(
    script: Path, tmp_path: Path
) -> None:
    done = run_script(script, "CoLA", tmp_path, "none", tmp_path / "out", PATH="/usr/bin:/bin")
    assert done.returncode == 127
    assert done.stderr.count("\n") == 1
    assert "no fairseq-train on PATH: activate the environment" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", DEFAULTS)
def test_adversarial_example_has_the_defaults_or_the_sizes_of_the_authors(
    path_with_recorder: str, tmp_path: Path, method: str
) -> None:
    done = run_script(
        *(FINETUNE / "adversarial.sh", "RTE", "data", "none", tmp_path / "run", "--seed", 3),
        PATH=path_with_recorder,
        METHOD=method,
    )
    assert done.returncode == 0, done.stderr
    parser = argparse.ArgumentParser()
    gen_parser_from_dataclass(parser, AdversarialConfig())
    words = done.stdout.splitlines()
    given, _ = parser.parse_known_args(words, argparse.Namespace(ddp_backend="c10d"))
    assert given.adv_method == method
    assert words[-2:] == ["--seed", "3"]  # the user's options come last, and so count
    of_authors = {"adv_unit": "absolute"} if method in ("freelb", "smart") else {}
    expected = settings_of(AdversarialConfig(adv_method=method, **of_authors))
    if method == "smart":  # the example has the authors' form
        expected["divergence"] = "detached"
    assert settings_of(given) == expected


@pytest.mark.parametrize(
    ("nodes", "gpus", "sentences", "update_freq"),
    [(1, 16, 16, 1), (1, 8, 16, 2), (1, 4, 32, 2), (1, 1, 32, 8), (2, 8, 16, 1)],
)
def test_every_machine_trains_on_256_sequences_an_update(
    path_with_recorder: str, nodes: int, gpus: int, sentences: int, update_freq: int
) -> None:
    done = run_script(
        *(PRETRAIN, "data", "checkpoints", "--seed", 3),
        PATH=path_with_recorder,
        NNODES=str(nodes),
        GPUS_PER_NODE=str(gpus),
        SENTENCES=str(sentences),
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()
    value = dict(itertools.pairwise(words))
    assert (value["--nnodes"], value["--nproc_per_node"]) == (str(nodes), str(gpus))
    assert (value["--batch-size"], value["--update-freq"]) == (str(sentences), str(update_freq))
    assert nodes * gpus * sentences * update_freq == 256
    assert "--rel-pos" in words
    assert words[-2:] == ["--seed", "3"]  # the user's options come last, and so count


def test_batch_that_cannot_be_divided_is_refused(path_with_recorder: str) -> None:
    done = run_script(
        *(PRETRAIN, "data", "checkpoints"), PATH=path_with_recorder, GPUS_PER_NODE="3"
    )
    assert done.returncode == 2
    assert "48 does not divide the global batch of 256" in done.stderr


@pytest.mark.slow
def test_an_unknown_task_and_a_missing_checkpoint_are_named(tmp_path: Path) -> None:
    for task, checkpoint, complaint in (
        ("MNRP", "none", "no GLUE task 'MNRP'"),
        ("MRPC", tmp_path / "absent.pt", "no checkpoint"),
    ):
        script = FINETUNE / "glue.sh"
        done = run_script(script, task, tmp_path, checkpoint, tmp_path / "runs")
        assert done.returncode == 2
        assert complaint in done.stderr


@pytest.mark.parametrize("script", ["glue.sh", "adversarial.sh", "bitfit.sh"])
def test_sigterm_ends_an_example_with_its_training(tmp_path: Path, script: str) -> None:
    """And what it trains with keeps a last checkpoint, to go on from."""
    programs, began = tmp_path / "bin", tmp_path / "began"
    programs.mkdir()
    endless = (
        f'#!/bin/bash\necho "$@" >{began}.new && mv {began}.new {began}\n'
        'exec -a "fairseq-train $*" sleep 1000\n'
    )
    (programs / "fairseq-train").write_text(endless)
    (programs / "fairseq-train").chmod(0o755)
    example = start_script(
        *(FINETUNE / script, "RTE", tmp_path, "none", tmp_path / "runs"),
        PATH=f"{programs}{os.pathsep}{SEARCH_PATH}",
    )
    wait_for(began.exists, of=example)
    options = began.read_text().split()
    assert not {"--no-save", "--no-last-checkpoints"} & set(options)
    assert len([line for line in running(tmp_path / "runs") if "fairseq-train" in line]) >= 1
    example.terminate()
    example.communicate(timeout=PATIENCE)
    assert example.returncode == -signal.SIGTERM  # there is no script around the training
    assert running(tmp_path / "runs") == []


@pytest.fixture(scope="module")
def starting_point(corpus, tmp_path_factory) -> Path:
    """A small checkpoint with the options that glue.sh gives."""
    folder = tmp_path_factory.mktemp("starting_point")
    done = run_script(
        *(FINETUNE / "glue.sh", "RTE", corpus.classification, "none", folder, *SMALL),
        EPOCHS="1",
    )
    assert done.returncode == 0, done.stderr
    return folder / "checkpoint_best.pt"


@pytest.mark.slow
def test_bitfit_example(corpus, starting_point: Path, tmp_path: Path) -> None:
    command = (FINETUNE / "bitfit.sh", "RTE", corpus.classification, starting_point, tmp_path)
    done = run_script(*command, "--cpu", TERMS="query,intermediate", EPOCHS="1")
    assert done.returncode == 0, done.stderr
    assert (
        main(["plot", "bitfit-drift", str(tmp_path / "train.log"), "-o", str(tmp_path / "d.png")])
        == 0
    )
    assert (tmp_path / "d.png").stat().st_size > 10_000
    best, delta = tmp_path / "checkpoint_best.pt", tmp_path / "delta.safetensors"
    assert main(["delta", "save", str(starting_point), str(best), "-o", str(delta)]) == 0


def test_a_method_that_there_is_not_is_refused_before_the_first_run(
    path_with_recorder: str, tmp_path: Path
) -> None:
    words = (FINETUNE / "adversarial.sh", "RTE", "data", "none", tmp_path / "run")
    done = run_script(*words, PATH=path_with_recorder, METHOD="smrat")
    assert done.returncode == 2
    assert "unknown METHOD 'smrat': attention, fgm, pgd" in done.stderr
    assert not (tmp_path / "run").exists()
