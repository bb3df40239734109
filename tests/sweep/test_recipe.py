"""`tupe recipe`, the recipe that glue.sh runs, and what it finds in checkpoints."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path

import pytest
from fairseq import options

from tests.api.trained_models import ARCHS, fine_tuned, write_task
from tupe_plugin.commands import main
from tupe_plugin.sweep.model_options import model_options
from tupe_plugin.sweep.option_words import options_of, shown, words

TUPE_ONLY = ("--rel-pos", "--embedding-normalize")


def recipe(capsys, *arguments: object) -> list[str]:
    assert main(["recipe", *map(str, arguments)]) == 0
    return shlex.split(capsys.readouterr().out)


def test_the_users_options_come_last_and_choose_what_belongs_to_them(capsys) -> None:
    more = ("--optimizer", "mfac", "--arch", "tupe_tiny", "--seed", 3)
    printed = recipe(capsys, "MNLI", "data", "none", "a run", *more)
    assert printed[:2] == ["fairseq-train", "data"]
    assert printed[-6:] == [str(word) for word in more]
    given = options.parse_args_and_arch(options.get_training_parser(), printed[1:])
    assert (given.save_dir, given.log_file) == ("a run", "a run/train.log")
    assert (given.mfac_num_grads, given.lr, given.max_epoch, given.seed) == (512, [1e-4], 5, 3)
    assert (given.num_classes, given.valid_subset, given.rel_pos) == (3, "valid,valid1", True)


def test_a_strategy_brings_its_options_for_the_task(capsys) -> None:
    printed = recipe(capsys, "--strategy", "mfac+layer-decay", "STS-B", "data", "none", "run")
    value = dict(itertools.pairwise(printed))
    assert (value["--optimizer"], value["--mfac-num-grads"]) == ("mfac", "512")
    assert (value["--layer-decay"], value["--lr"]) == ("0.95", "1e-4")
    assert "--adam-eps" not in printed


def test_options_can_be_left_out(capsys) -> None:
    printed = recipe(capsys, "--without", "rel-pos", "RTE", "data", "none", "run")
    assert "--rel-pos" not in printed
    assert "--embedding-normalize" in printed


@pytest.mark.slow
@pytest.mark.parametrize("family", ARCHS)
def test_a_checkpoint_says_of_what_architecture_it_is(capsys, tmp_path: Path, family: str) -> None:
    data = write_task(tmp_path, kind="bpe", pairs=False)
    fine_tuned(tmp_path / "model.pt", data, arch=family)
    printed = recipe(capsys, "RTE", data, tmp_path / "model.pt", "run")
    named = recipe(capsys, "RTE", data, "none", "run", *ARCHS[family])
    ours, theirs = (
        vars(options.parse_args_and_arch(options.get_training_parser(), line[1:]))
        for line in (printed, [word for word in named if family == "tupe" or word not in TUPE_ONLY])
    )
    different = {name for name in ours if ours[name] != theirs[name]}
    starts = {"restore_file", *(f"reset_{p}" for p in ("optimizer", "dataloader", "meters"))}
    own = {"embedding_normalize"} if family == "tupe" else set()  # that of a model from scratch
    assert different == {*starts, "reset_lr_scheduler", *own}
    value = dict(itertools.pairwise(printed))
    assert value["--restore-file"] == str(tmp_path / "model.pt")
    assert {"--reset-optimizer", "--reset-lr-scheduler"} <= set(printed)


def test_an_imported_folder_has_its_options_beside_it(tmp_path: Path) -> None:
    (tmp_path / "model.args").write_text("--arch tupe_base\n--encoder-layers 6\n")
    (tmp_path / "sentences.args").write_text("--init-token 0\n")
    assert model_options(tmp_path / "checkpoint.pt") == {
        "arch": "tupe_base",
        "encoder-layers": "6",
        "init-token": "0",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("MNRP", "data", "none"), "no GLUE task 'MNRP'; the tasks are CoLA"),
        (("RTE", "data", "absent.pt"), "no checkpoint absent.pt ('none' trains from scratch)"),
        (("--strategy", "average", "RTE", "data", "none", "run"), "average trains nothing"),
        (("RTE", "data", "none", "run", "--optimizer", "sgd"), "unknown optimizer 'sgd': adam or"),
    ],
)
def test_what_cannot_be_trained_is_refused(capsys, arguments, message) -> None:
    assert main(["recipe", *arguments, *(["run"] if len(arguments) == 3 else [])]) == 1
    assert message in capsys.readouterr().err


def test_options_become_words_and_come_back() -> None:
    table = {"lr": 2e-5, "rel-pos": True, "no-save": False, "adam-betas": "(0.9, 0.98)", "seed": 1}
    line = words(table)
    assert line == ["--lr", "2e-5", "--rel-pos", "--adam-betas", "(0.9, 0.98)", "--seed", "1"]
    assert words(options_of(line)) == line
    assert [shown(value) for value in (1e-4, 0.5, 0.001, 0.0, 3)] == [
        "1e-4",
        "0.5",
        "0.001",
        "0.0",
        "3",
    ]
