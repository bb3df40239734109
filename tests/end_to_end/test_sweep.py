"""`tupe sweep` with real trainings: killed, stopped, gone on with; the commands; a cluster."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path

import pytest

from tests.preprocess.slurm_stand_in import write_commands
from tupe_plugin.commands import main
from tupe_plugin.sweep.run_lock import LOCK_FILE
from tupe_plugin.sweep.run_record import RunRecord

from .example_scripts import PATIENCE, start_script, wait_for
from .training_jobs import logged, running

pytestmark = pytest.mark.slow

EPOCHS = 8
SMALL = (
    *("--set", "arch=tupe_tiny", "--set", "encoder-layers=1", "--set", "encoder-embed-dim=16"),
    *("--set", "encoder-ffn-embed-dim=32", "--set", "encoder-attention-heads=2"),
    *("--set", "max-positions=64", "--set", "cpu", "--lr", "1e-3"),
)


@pytest.fixture
def sweep(corpus, tmp_path: Path, monkeypatch) -> list[str]:
    """The words of a sweep over RTE, which writes into `runs`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    data = str(corpus.classification)
    usual = ("--tasks", "RTE", "--data", data, "--model", "m=none", "-o", "runs")
    return ["sweep", *usual, *SMALL, "--set", f"max-epoch={EPOCHS}"]


def folder(strategy: str, seed: int) -> Path:
    return Path("runs/RTE/m") / strategy / "lr0.001" / f"seed{seed}"


def is_training(path: Path, attempts: int) -> bool:
    """Whether that attempt has validated something, and goes on."""
    if not (path / "run.json").exists():
        return False
    record = RunRecord.read(path)
    return record.attempts == attempts and 0 < len(record.validations) < EPOCHS


def test_what_is_killed_goes_on_and_what_is_stopped_leaves_nothing_behind(
    sweep, tmp_path: Path, run_command, capfd
) -> None:
    first, second = folder("plain", 1), folder("plain", 2)
    program = start_script("setsid", "tupe", *sweep, "--seeds", "2", "--jobs", "2")
    wait_for(lambda: is_training(first, 1) and is_training(second, 1))
    leader = int((first / LOCK_FILE).read_text().split()[0])
    os.kill(leader, signal.SIGKILL)
    wait_for(lambda: RunRecord.read(first).attempts == 2)
    os.killpg(program.pid, signal.SIGINT)  # Ctrl-C, as a terminal sends it
    _, errors = program.communicate(timeout=PATIENCE)
    assert program.returncode == -signal.SIGINT
    last = errors.splitlines()[-1]
    assert last == "tupe: sweep interrupted; run the same command again to go on"
    assert "Traceback" not in errors
    assert running(tmp_path) == []
    assert RunRecord.read(first).state == "interrupted"

    assert main([*sweep, "--seeds", "2", "--jobs", "2"]) == 0
    for path in (first, second):
        record = RunRecord.read(path)
        assert record.state == "finished"
        updates = [one.update for one in record.validations]
        assert updates == [10 * epoch for epoch in range(1, EPOCHS + 1)]
        assert record.peak_memory > 100e6
        assert record.seconds > record.validations[-1].seconds - record.validations[0].seconds > 0
        assert list(path.glob("*.pt")) == []
    assert RunRecord.read(first).attempts == 3
    assert [path.name for path in tmp_path.rglob("%j")] == []

    # A person who pastes what --dry-run prints gets the same scores, without an interruption.
    capfd.readouterr()
    assert main([*sweep, "--seeds", "2", "-o", "by hand", "--dry-run"]) == 0
    comment, make_folder, command, *_ = capfd.readouterr().out.splitlines()
    assert comment == "# RTE, m, plain, lr 0.001, seed 1"
    run_command(*shlex.split(make_folder), cwd=tmp_path)
    done = run_command(*shlex.split(command), cwd=tmp_path)
    by_hand = [one["accuracy"] for one in logged(done.stdout, "valid")]
    scores = [one.scores["accuracy"] for one in RunRecord.read(first).validations]
    assert [float(f"{score:g}") for score in scores] == by_hand  # as the log shows them


def test_slurm_runs_the_same_file(sweep, tmp_path: Path, monkeypatch) -> None:
    write_commands(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "sweep.toml").write_text(
        '[slurm]\npartition = "small"\nhours = 0.5\ngpus = 0\ncpus = 3\n'
    )
    words = ["sweep", "sweep.toml", *sweep[1:], "--strategies", "average", "--set", "max-epoch=2"]
    assert main(words) == 0
    plain, average = (RunRecord.read(folder(name, 1)) for name in ("plain", "average"))
    assert (plain.state, average.state) == ("finished", "finished")
    assert average.parent == plain.key
    assert [one.update for one in average.validations] == [20]
    assert set(average.best_scores) == set(plain.best_scores)
    asked = (tmp_path / "sbatch.1").read_text("utf-8")
    for line in ("--partition=small", "--time=30", "--cpus-per-task=3", "--job-name=runs"):
        assert f"#SBATCH {line}\n" in asked
    assert "gpus" not in asked
