"""A sweep's file and flags become runs; what is wrong with them is one line, in their words."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tupe_plugin.commands import main
from tupe_plugin.data.toml_file import read_toml
from tupe_plugin.sweep.option_check import check_commands
from tupe_plugin.sweep.presets import load_presets
from tupe_plugin.sweep.recipe import load_recipe
from tupe_plugin.sweep.spec import SpecError

RATES, SEEDS = 4, 5


@pytest.mark.parametrize(
    ("preset", "strategies"),
    [
        ("tupe", {"plain": RATES * SEEDS}),
        ("m-fac", {"adam-published": SEEDS, "plain": RATES * SEEDS, "mfac": SEEDS}),
        (
            "bitfit",
            dict.fromkeys(("plain", "bitfit", "bitfit-query-intermediate"), RATES * SEEDS),
        ),
        ("r-drop", {"plain": RATES * SEEDS, "rdrop": 3 * RATES * SEEDS}),
        (
            "wenxin",
            dict.fromkeys(
                (
                    *("plain", "average", "rdrop", "attention", "layer-decay"),
                    *("rdrop+layer-decay", "rdrop+layer-decay+average"),
                    *("attention+layer-decay", "attention+layer-decay+average"),
                ),
                3,
            ),
        ),
    ],
)
def test_a_preset_has_the_papers_rates_and_seeds(runs_of, preset, strategies) -> None:
    entries = {"preset": preset, "lr": load_presets()["preset"][preset]["lr"]}
    runs = runs_of(**entries)
    assert {
        name: len(list(group))
        for name, group in itertools.groupby(sorted(r.strategy for r in runs))
    } == strategies
    assert len({run.key for run in runs}) == len({run.folder for run in runs}) == len(runs)
    with pytest.raises(SpecError, match=f"these would be {len(runs)} runs"):
        runs_of(**entries, **{"most-runs": len(runs) - 1})


def test_every_axis_of_the_grid_is_in_the_command_and_in_the_folder(runs_of, tmp_path) -> None:
    runs = runs_of(
        tasks=["CoLA", "MRPC"],
        seeds=[3, 8],
        strategy={"mine": {"criterion": "rdrop", "rdrop-alpha": [0.25, 1], "lr": [2e-5]}},
        options={"max-epoch": 4},
        task={"MRPC": {"max-epoch": 2}},
    )
    assert len(runs) == 8
    run = runs[-1]
    assert run.folder == tmp_path / "runs/MRPC/m/mine/rdrop-alpha1,lr2e-5/seed8"
    assert run.name == "MRPC, m, mine, rdrop-alpha 1, lr 2e-5, seed 8"
    value = dict(itertools.pairwise(run.command))
    wanted = {"--criterion": "rdrop", "--rdrop-alpha": "1", "--lr": "2e-5", "--seed": "8"}
    wanted |= {"--max-epoch": "2", "--best-checkpoint-metric": "accuracy"}
    wanted |= {"--save-dir": str(run.folder), "--batch-size": "32"}
    assert {name: value[name] for name in wanted} == wanted
    assert dict(itertools.pairwise(runs[0].command))["--max-epoch"] == "4"
    assert run.setting == {"rdrop-alpha": 1}


def test_the_key_is_of_what_decides_the_scores_and_of_nothing_else(runs_of, glue) -> None:
    def key(**entries: Any) -> str:
        return runs_of(**entries)[0].key

    first = key()
    assert first == key(folder="elsewhere", keep="all", jobs=3, options={"num-workers": 0})
    assert first == key(lr=0.001, options={"log-interval": 1, "batch-size": "32"})
    others = [key(seeds=[2]), key(lr=[1e-4]), key(options={"dropout": 0.0}), key(tasks=["MRPC"])]
    (glue / "CoLA-bin" / "manifest.json").write_text('{"other": 1}')
    assert len({first, key(), *others}) == 6


def test_an_average_is_made_of_a_run_that_keeps_its_epochs(runs_of) -> None:
    plain, average = runs_of(strategies=["average"], options={"max-epoch": 3})
    assert average.parent == plain
    assert "--no-epoch-checkpoints" not in plain.command
    assert dict(itertools.pairwise(plain.command))["--keep-last-epochs"] == "2"
    assert list(average.command[:5]) == [
        *("tupe", "average"),
        *(f"{plain.folder}/checkpoint{epoch}.pt" for epoch in (2, 3)),
        "-o",
    ]
    (alone,) = runs_of(options={"max-epoch": 3})
    assert alone.key == plain.key  # so a finished run is no other because of it


def test_of_two_files_the_upper_one_counts_and_flags_count_most(runs_of, glue, capsys) -> None:
    file = glue / "sweep.toml"
    file.write_text(
        'preset = "bitfit"\ntasks = ["CoLA"]\nstrategies = ["bitfit"]\nseeds = [7]\n'
        f'data = "{glue}"\nmodels.m = "none"\nfolder = "a folder"\n'
    )
    assert main(["sweep", str(file), "--lr", "3e-3", "--set", "cpu", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "# CoLA, m, bitfit, lr 0.003, seed 7"
    words = shlex.split(lines[2])
    assert len(lines) == 3
    assert {"--cpu", "a folder/CoLA/m/bitfit/lr0.003/seed7"} <= set(words)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"sedes": 5}, "f.toml: sedes is not known; the keys are tasks, data, models"),
        ({"lr": [0]}, "f.toml: lr 0: give a number above 0 and up to 1e+09"),
        ({"lr": [1e-3, 0.001]}, "f.toml: lr: 0.001 is there twice"),
        ({"lr": []}, "f.toml: lr: give one rate or more"),
        ({"seeds": 0}, "f.toml: seeds: give a whole number from 1 to 1,000, not 0"),
        ({"seeds": [1, "2"]}, "f.toml: seeds: give a whole number from 0"),
        ({"tasks": "CoLA"}, "f.toml: tasks: give a list of names, such as"),
        ({"tasks": ["CoLA", "../x"]}, "f.toml: tasks: '../x' is no name"),
        ({"tasks": ["news"]}, "no task 'news': GLUE's are CoLA"),
        ({"tasks": ["news"], "task": {"news": {"classes": 3}}}, "task.news: give `metric`"),
        ({"tasks": ["RTE"]}, "RTE-bin is no data of RTE: make them with `tupe data task"),
        ({"preset": "tupa"}, "no preset 'tupa'; there is tupe, m-fac"),
        ({"strategies": ["smrat"]}, "f.toml: no strategy 'smrat'; there is plain, bitfit"),
        (
            {"strategies": ["rdrop+fgm"]},
            "strategy 'rdrop+fgm': its parts have criterion 'rdrop' and 'adversarial'",
        ),
        ({"strategies": ["average"], "options": {"max-epoch": 1}}, "average of 2 epochs, and max"),
        ({"models": {}}, "f.toml: there is no `models`: give one there, or with --model"),
        ({"keep": "some"}, "f.toml: keep: give one of none, best, all, not 'some'"),
        ({"options": {"lr": [1]}}, "f.toml: options.lr: give a text, a number, true or false"),
        ({"models": {"m": "absent.pt"}}, "no checkpoint absent.pt"),
        ({"models": {"m": {"arch": "x"}}}, "f.toml: models.m.checkpoint: give a text, not None"),
        ({"slurm": {"gpu": 1}}, "f.toml: slurm.gpu is not known; the keys are partition"),
        ({"slurm": {"hours": "2"}}, "f.toml: slurm.hours: give a float, not '2'"),
        ({"slurm": {"setup": [1]}}, "f.toml: slurm.setup: give a list of lines of a shell"),
        ({"strategy": {"../../x": {}}}, "f.toml: strategy: '../../x' is no name"),
        ({"strategy": {"a": {"lr": [1, 1.0]}}}, "f.toml: strategy.a.lr: 1.0 is there twice"),
        ({"strategy": {"a": {"lr": []}}}, "f.toml: strategy.a.lr: give one rate or more"),
        ({"strategy": {"a": {"dropout": [0.1, "0.1"]}}}, "'a': dropout: 0.1 is there twice"),
        ({"strategy": {"a": {"task": "CoLA"}}}, "strategy.a.task: give a table, not 'CoLA'"),
        ({"strategy": {"a": {"task": {"CoLA": 3}}}}, "a.task.CoLA: give a table, not 3"),
        (
            {"strategy": {"a": {"task": {"CoLA": {"dropout": [0.1]}}}}},
            "f.toml: strategy.a.task.CoLA.dropout: give a text, a number, true or false",
        ),
        (
            {"strategy": {"a": {"task": {"cola": {"dropout": 0.1}}}}},
            "strategy 'a', task.cola: there is no such task; there is CoLA",
        ),
        ({"task": {"cola": {"dropout": 0.1}}}, "task.cola: there is no such task"),
        ({"options": {"lr": 1e-3}}, "options: lr is another for each run: give `lr` instead"),
        ({"task": {"CoLA": {"seed": 3}}}, "task.CoLA: seed is another for each run: give `seeds`"),
        ({"strategy": {"a": {"save-dir": "x"}}}, "'a': save-dir is another for each run"),
        ({"strategies": ["average"], "options": {"max-epoch": "x"}}, "and max-epoch is x"),
        (
            *({"seeds": 1000, "lr": [1e-3, 1e-4], "strategies": ["rdrop", "average"]},),
            "these would be 6,000 runs (tasks: 1, models: 1, strategies with their rates and "
            "settings: 6, seeds: 1000), and most-runs is 1,000: give less of these, or "
            "--most-runs 6000",
        ),
        (
            {"seeds": 9, "search-seeds": 2, "lr": [1e-3, 1e-4], "most-runs": 4},
            "these would be 11 runs (tasks: 1, models: 1, strategies with their rates and "
            "settings: 2, seeds: 9, of which 2 search), and most-runs is 4: give less of these",
        ),
        ({"seeds": 2, "search-seeds": 3}, "f.toml: search-seeds is 3, and seeds are 2: give fewer"),
        ({"search-seeds": 0}, "f.toml: search-seeds: give a whole number from 1 to"),
        ({"options": {"optimizer": "sgd"}}, "unknown optimizer 'sgd': adam or mfac"),
    ],
)
def test_what_cannot_be_is_named_in_the_words_of_the_file(runs_of, entries, message) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        runs_of(**entries)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--set", "rdrop-alhpa=1"], "fairseq-train refuses it: unrecognized arguments: --rdrop-a"),
        (["--set", "dropout=3"], "fairseq-train refuses it: --dropout 3.0: give a number from 0"),
        (["--lr", "2e-5,-1"], "--lr -1.0: give a number above 0"),
        (["--seeds", "0"], "--seeds: give a whole number from 1"),
        (["--preset", "tupa"], "no preset 'tupa'"),
        (["--model", "b=none", "--model", "b=x"], "--model: two are called b: give NAME=PATH"),
    ],
)
def test_what_fairseq_would_refuse_is_refused_before_any_run(
    glue: Path, tmp_path: Path, capsys, flags: list[str], message: str
) -> None:
    usual = ["--tasks", "CoLA", "--data", str(glue), "--model", "m=none", "--lr", "1e-3"]
    assert main(["sweep", *usual, "-o", str(tmp_path / "runs"), *flags]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_fairseq_takes_every_strategy_that_has_a_name(runs_of) -> None:
    names = list(load_presets()["strategy"])
    runs = runs_of(strategies=names)
    assert {run.strategy for run in runs} == set(names)
    check_commands(runs)
    assert set(load_recipe()["optimizers"]) == {"adam", "mfac"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "file", ["examples/finetune/sweep.toml", "benchmarks/strategies_on_minilm.toml"]
)
def test_fairseq_takes_every_run_of_a_file_that_is_here(runs_of, glue, file) -> None:
    entries = read_toml(ROOT / file)
    del entries["folder"]
    given = {"tasks": ["CoLA"], "data": str(glue), "models": {"m": "none"}}
    check_commands(runs_of(**{**entries, **given}))
