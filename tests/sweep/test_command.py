"""`tupe sweep` as a program: how it begins, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.sweep.test_pool import Fake, FakeJob, diverging, refused, trained
from tupe_plugin.commands import main, sweep
from tupe_plugin.commands.closed_pipe import STATUS
from tupe_plugin.data.folder_lock import folder_lock
from tupe_plugin.sweep.grid import Run
from tupe_plugin.sweep.recorder import Recorder


@pytest.fixture
def words(glue: Path, tmp_path: Path, monkeypatch) -> list[str]:
    """A small sweep, of which fairseq is not asked what it thinks."""
    monkeypatch.setattr(sweep, "check_commands", lambda runs: None)
    usual = ["--tasks", "CoLA", "--data", str(glue), "--model", "m=none", "--lr", "1e-3"]
    return ["sweep", *usual, "--seeds", "2", "-o", str(tmp_path / "runs")]


def test_it_ends_with_the_table(words, monkeypatch, capsys) -> None:
    launcher = Fake(lambda run, attempt: diverging if run.seed == 2 else trained)
    monkeypatch.setattr(sweep, "launcher_for", lambda spec: launcher)
    assert main(words) == 0  # that a run diverges is a result
    output = capsys.readouterr().out
    assert "| CoLA" in output
    assert "1 diverged" in output


def test_the_best_of_a_search_alone_gets_all_seeds(words, monkeypatch, capsys) -> None:
    best = {"plain": 2e-3, "average": 3e-3}

    def score(run: Run, recorder: Recorder) -> None:
        trained(run, recorder)
        mcc = 0.9 if run.lr == best[run.strategy] else 0.5
        recorder.validation("valid", 40, 4, {"loss": 1.0, "mcc": mcc})

    launcher = Fake(lambda run, attempt: score)
    monkeypatch.setattr(sweep, "launcher_for", lambda spec: launcher)
    more = ["--strategies", "plain,average", "--lr", "1e-3,2e-3,3e-3", "--set", "max-epoch=3"]
    more += ["--seeds", "3", "--search-seeds", "1"]
    assert main([*words, *more, "--dry-run"]) == 0
    planned = capsys.readouterr().out.splitlines()
    assert planned[-1] == "# and then seeds 2, 3 of the best of each strategy"
    assert [line for line in planned if line.startswith("# CoLA") and "seed 1" not in line] == []
    assert main([*words, *more]) == 0
    assert Counter((job.run.strategy, job.run.lr) for job in launcher.jobs) == {
        ("plain", 1e-3): 1,
        ("plain", 2e-3): 3,
        ("plain", 3e-3): 3,  # of which the best average is made
        ("average", 1e-3): 1,
        ("average", 2e-3): 1,
        ("average", 3e-3): 3,
    }
    assert "with the most finished seeds" in " ".join(capsys.readouterr().out.split())
    launcher.jobs.clear()
    assert main([*words, *more]) == 0
    assert launcher.jobs == []


def test_a_run_that_fails_is_named(words, tmp_path, monkeypatch, capsys) -> None:
    launcher = Fake(lambda run, attempt: refused if run.seed == 2 else trained)
    monkeypatch.setattr(sweep, "launcher_for", lambda spec: launcher)
    assert main(words) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "tupe sweep: 1 of 2 runs failed, the first: CoLA, m, plain, lr 0.001, seed 2: "
        "fairseq-train: error: --clip-norm -1: give more; their output is in "
        f"{tmp_path / 'runs' / 'jobs'}; the same command tries them again"
    )


def test_sigterm_ends_what_is_at_work(words, monkeypatch, capsys) -> None:
    class Stopped(Fake):
        def start(self, run: Run, place: int) -> FakeJob:
            job = super().start(run, place)
            if place == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return job

    monkeypatch.setattr(FakeJob, "done", lambda job: job.over)  # they take long
    launcher = Stopped()
    monkeypatch.setattr(sweep, "launcher_for", lambda spec: launcher)
    assert main(words) == 128 + signal.SIGTERM
    assert "stopped; run the same command again to go on" in capsys.readouterr().err
    assert launcher.jobs[0].cancelled


def test_what_is_at_work_ends_when_nobody_reads_of_it(words, monkeypatch) -> None:
    """`tupe sweep ... 2>&1 | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(FakeJob, "done", lambda job: job.over)  # they take long
    monkeypatch.setattr(sweep, "launcher_for", lambda spec: launcher)
    launcher = Fake()
    with os.fdopen(writing, "w", buffering=1) as nowhere:
        monkeypatch.setattr(sys, "stderr", nowhere)
        assert main(words) == STATUS
    assert [job.cancelled for job in launcher.jobs] == [True, True]


def test_two_sweeps_in_one_folder_are_refused(words, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sweep, "launcher_for", lambda spec: Fake())
    (tmp_path / "runs").mkdir()
    with folder_lock(tmp_path / "runs" / ".lock"):
        assert main(words) == 1
    assert f"another run is at work in {tmp_path / 'runs'}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("srun", "no srun on this machine; run the command where jobs are submitted"),
        ("squeue", "no squeue on this machine; run the command where jobs are submitted"),
        ("partition", "sbatch refused the jobs: sbatch: error: no such partition"),
    ],
)
def test_what_slurm_lacks_is_one_line(
    words, tmp_path, monkeypatch, capsys, lacking: str, message: str
) -> None:
    for name in {"srun", "sbatch", "squeue", "scancel"} - {lacking}:
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho sbatch: error: no such partition >&2\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "sweep.toml").write_text("[slurm]\nhours = 1\n")
    assert main([*words[:1], str(tmp_path / "sweep.toml"), *words[1:]]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"tupe sweep: [slurm]: {message}"


def test_without_submitit_one_line_says_what_to_do(words, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main(words) == 1
    assert "has no submitit, which tupe sweep needs: pip install 'tupe-plugin[sweep]'" in (
        capsys.readouterr().err
    )
