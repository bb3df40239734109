"""Many runs, some at a time: a function takes the place of each training."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from tupe_plugin.data.glue_tasks import load_task, load_tasks
from tupe_plugin.sweep.grid import Run
from tupe_plugin.sweep.job import average, record_of, work_on
from tupe_plugin.sweep.pool import OtherRunError, Pool
from tupe_plugin.sweep.progress import Progress
from tupe_plugin.sweep.recorder import Recorder
from tupe_plugin.sweep.run_checkpoints import mark_untidied
from tupe_plugin.sweep.run_lock import be_at_work, is_busy
from tupe_plugin.sweep.run_record import RunRecord, UnreadableRunError

Training = Callable[[Run, Recorder], None]


def trained(run: Run, recorder: Recorder) -> None:
    for epoch in (1, 2, 3):
        recorder.validation("valid", 10 * epoch, epoch, {"loss": 1.0, "mcc": epoch / 10})
        (run.folder / f"checkpoint{epoch}.pt").write_text("new")
    for name in ("checkpoint_best.pt", "checkpoint_last.pt", "average.pt"):
        (run.folder / name).write_text("new")


def diverging(run: Run, recorder: Recorder) -> None:
    recorder.train(50, float("nan"))


def failing(run: Run, recorder: Recorder) -> None:
    raise RuntimeError("out of memory\nand more")


def refused(run: Run, recorder: Recorder) -> None:
    raise SystemExit("fairseq-train: error: --clip-norm -1: give more")


def refused_by_this_package(run: Run, recorder: Recorder) -> None:
    load_task("MNRP")


class KilledError(BaseException):
    """In the place of a SIGKILL: nothing is written after it."""


def killed(run: Run, recorder: Recorder) -> None:
    recorder.validation("valid", 10, 1, {"loss": 1.0, "mcc": 0.9})
    raise KilledError


@dataclass
class Fake:
    """A launcher whose jobs end when they are looked at, the youngest first."""

    do: Callable[[Run, int], Training] = lambda run, attempt: trained
    at_once: int = 2
    started: list[tuple[str, int]] = field(default_factory=list)
    most: int = 0
    jobs: list[FakeJob] = field(default_factory=list)

    def start(self, run: Run, place: int) -> FakeJob:
        self.started.append((run.name, place))
        attempt = [name for name, _ in self.started].count(run.name)
        self.jobs.append(FakeJob(run, self.do(run, attempt)))
        self.most = max(self.most, sum(not job.over for job in self.jobs))
        return self.jobs[-1]


@dataclass
class FakeJob:
    run: Run
    training: Training
    over: bool = False
    cancelled: bool = False

    def done(self) -> bool:
        if not self.over:
            self.over = True
            try:
                work_on(self.run, self.training)
            except KilledError:
                pass
        return True

    def cancel(self) -> None:
        self.cancelled = self.over = True


def work(runs: list[Run], launcher: Fake, **options: object) -> Pool:
    pool = Pool(runs, launcher, poll=0.0, **options)
    pool.work()
    return pool


def test_every_run_is_done_once_and_some_at_a_time(runs_of) -> None:
    runs, launcher = runs_of(seeds=5), Fake()
    pool = work(runs, launcher)
    assert [name for name, _ in launcher.started] == [run.name for run in runs]
    assert launcher.most == 2
    assert {place for _, place in launcher.started} == {0, 1}
    records = [record_of(run) for run in runs]
    assert (
        [one.state for one in records]
        == ["finished"] * 5
        == [pool.ended[run.folder].state for run in runs]
    )
    assert [one.best_scores["mcc"] for one in records] == [0.3] * 5
    assert [one.attempts for one in records] == [1] * 5
    again = Fake()
    work(runs, again)
    assert again.started == []


@pytest.mark.parametrize(
    ("training", "starts", "state", "reason"),
    [
        (diverging, 1, "diverged", "the training loss at update 50 is nan"),
        (failing, 3, "failed", "RuntimeError: and more"),
        (refused, 1, "failed", "fairseq-train: error: --clip-norm -1: give more"),
        (
            *(refused_by_this_package, 1, "failed"),
            f"fairseq-train: error: no GLUE task 'MNRP'; the tasks are {', '.join(load_tasks())}",
        ),
        (killed, 3, "failed", "killed"),
        (lambda run, recorder: None, 3, "failed", "it has ended without a validation"),
    ],
)
def test_how_a_run_ends_is_recorded_and_the_others_go_on(
    runs_of, training: Training, starts: int, state: str, reason: str
) -> None:
    bad, good = runs_of(seeds=2)
    launcher = Fake(lambda run, attempt: training if run == bad else trained, at_once=1)
    pool = work([bad, good], launcher, retries=2)
    assert [name for name, _ in launcher.started].count(bad.name) == starts
    record = record_of(bad)
    assert (record.state, record.reason, record.attempts) == (state, reason, starts)
    assert (pool.count(state), pool.count("finished")) == (1, 1)
    again = Fake()
    work([bad, good], again)  # a later sweep tries again what failed, and nothing else
    assert len(again.started) == (state == "failed")


def test_a_killed_run_goes_on_and_counts_nothing_twice(runs_of) -> None:
    (run,) = runs_of()
    launcher = Fake(lambda run, attempt: killed if attempt == 1 else trained)
    work([run], launcher)
    record = record_of(run)
    assert (record.state, record.attempts, record.reason) == ("finished", 2, "")
    assert [(one.update, one.scores["mcc"]) for one in record.validations] == [
        (10, 0.1),
        (20, 0.2),
        (30, 0.3),
    ]


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ("none", []),
        ("best", ["average.pt", "checkpoint_best.pt"]),
        ("all", [*(f"checkpoint{epoch}.pt" for epoch in (1, 2, 3)), "checkpoint_last.pt"]),
    ],
)
def test_checkpoints_stay_while_an_average_needs_them_and_then_as_asked(
    runs_of, keep: str, left: list[str]
) -> None:
    runs = runs_of(strategies=["average"], options={"max-epoch": 3}, keep=keep)

    def averaged(run: Run, recorder: Recorder) -> None:
        assert run.parent is not None
        assert (run.parent.folder / "checkpoint3.pt").is_file()
        trained(run, recorder)

    work(runs, Fake(lambda run, attempt: averaged if run.parent else trained), keep=keep)
    assert [record_of(run).state for run in runs] == ["finished"] * 2
    assert record_of(runs[1]).parent == runs[0].key
    for run in runs:
        assert set(left) <= {path.name for path in run.folder.glob("*.pt")}
        assert left or not list(run.folder.glob("*.pt"))


@pytest.mark.parametrize("strategies", [["plain"], ["plain", "average"]])
@pytest.mark.parametrize("keep", ["best", "all"])
def test_what_an_earlier_sweep_kept_stays(runs_of, keep: str, strategies: list[str]) -> None:
    """Its record too, where an average wants epochs that are gone: so the run is trained again."""
    options = {"max-epoch": 3}
    (alone,) = runs_of(options=options)
    work([alone], Fake(), keep=keep)
    for path in (kept := list(alone.folder.glob("*.pt"))):
        path.write_text("kept")
    record = (alone.folder / "run.json").read_bytes()
    runs = runs_of(strategies=strategies, options=options)
    work(runs, launcher := Fake(), keep="none")  # as by the same command without its --keep
    found = [path for path in alone.folder.rglob("*.pt") if path.read_text() == "kept"]
    assert sorted(path.name for path in found) == sorted(path.name for path in kept)
    trained_again = any(name == alone.name for name, _ in launcher.started)
    assert trained_again == (keep == "best" and len(runs) == 2)
    assert record in [path.read_bytes() for path in alone.folder.rglob("*.json")]
    assert len(list(alone.folder.rglob("run.json"))) == 1  # of which a report knows
    work(runs, again := Fake())
    assert again.started == []


def test_checkpoints_of_a_command_that_was_pasted_stay(runs_of) -> None:
    (run,) = runs_of()
    run.folder.mkdir(parents=True)
    (run.folder / "checkpoint_last.pt").write_text("of --dry-run's command")
    work([run], Fake(lambda run, attempt: trained if attempt else killed))
    assert (run.folder / "checkpoint_last.pt").exists()


def test_what_a_killed_sweep_has_left_goes_as_asked(runs_of) -> None:
    runs = runs_of(strategies=["average"], options={"max-epoch": 3})
    work(runs, Fake(lambda run, attempt: killed if run.parent else trained), retries=0)
    assert list(runs[0].folder.glob("*.pt"))  # for the average, which is tried again
    work(runs_of(options={"max-epoch": 3}), Fake())  # one that knows of no average
    assert list(runs[0].folder.glob("*.pt"))
    work(runs, Fake())
    assert not [path for run in runs for path in run.folder.rglob("*.pt")]

    (run,) = runs_of(seeds=[2])
    mark_untidied(run.folder)
    work_on(run, trained)  # by a job that goes on when its sweep is killed
    work([run], Fake())
    assert not list(run.folder.glob("*.pt"))


def test_a_run_that_ends_while_a_sweep_begins_is_not_done_again(runs_of) -> None:
    (run,) = runs_of()
    pool = Pool([run], launcher := Fake(), poll=0.0)
    work_on(run, trained)  # by a job of a sweep that was killed
    pool.work()
    assert launcher.started == []
    assert pool.ended[run.folder].state == "finished"


def test_an_average_of_a_run_that_diverged_has_diverged(runs_of) -> None:
    runs = runs_of(strategies=["average"])
    work(runs, Fake(lambda run, attempt: diverging))
    record = record_of(runs[1])
    assert (record.state, record.attempts) == ("diverged", 0)
    assert record.reason.startswith("the run that it is made of has diverged: the training loss")

    other = {"options": {"max-epoch": 3}}
    work(runs_of(lr=[1.0], **other), Fake(lambda run, attempt: diverging))
    work(runs_of(lr=[1.0], strategies=["average"], **other), again := Fake())
    assert again.started == []  # a run that has diverged is not tried again for its average


@pytest.mark.parametrize(
    ("entries", "difference"),
    [
        ({"options": {"dropout": 0.0}, "keep": "all"}, "dropout is 0.1 there and 0.0 here"),
        ({"options": {"cpu": True}}, "cpu is not given there and True here"),
        ({}, "its data or its checkpoint were others"),
    ],
)
def test_a_folder_of_another_run_is_left_alone(runs_of, glue, entries, difference) -> None:
    work(runs_of(), Fake())
    if not entries:
        (glue / "CoLA-bin" / "manifest.json").write_text('{"other": 1}')
    with pytest.raises(OtherRunError, match=f"seed1 holds another run: {difference}; name another"):
        Pool(runs_of(**entries), Fake())


def test_a_damaged_record_is_left_as_it_is_and_named_with_what_to_do(runs_of) -> None:
    (run,) = runs_of()
    work([run], Fake())
    file = run.folder / "run.json"
    file.write_text("{")
    with pytest.raises(UnreadableRunError, match=f"{file} is no JSON.*; move {run.folder} away"):
        Pool([run], Fake())
    assert file.read_text() == "{"


def test_a_run_at_which_somebody_is_at_work_is_waited_for(runs_of) -> None:
    (run,) = runs_of()
    launcher = Fake()
    other_sweep = be_at_work(run.folder)

    def end_it(one: Run | None, record: RunRecord | None) -> None:
        if record_of(run).attempts == 0:
            work_on(run, trained)
            os.close(other_sweep)

    pool = work([run], launcher, tell=end_it)
    assert launcher.started == []
    assert pool.ended[run.folder].state == "finished"


def test_an_average_whose_job_was_killed_is_still_at_work(runs_of, tmp_path, monkeypatch) -> None:
    parent, run = runs_of(strategies=["average"], options={"max-epoch": 3})
    work_on(parent, trained)
    pipe, program = tmp_path / "pipe", tmp_path / "python"
    os.mkfifo(pipe)
    program.write_text(f"#!/bin/sh\nread line < {pipe}\necho no room >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    lock = be_at_work(run.folder)
    job = threading.Thread(target=work_on, args=(run, partial(average, lock=lock)))
    job.start()
    with pipe.open("w"):  # when the program has opened it
        os.close(lock)
        busy = is_busy(run.folder)
    job.join()
    assert busy
    assert record_of(run).reason == "RuntimeError: no room"
    assert not is_busy(run.folder)


def test_what_is_at_work_ends_with_the_sweep(runs_of, monkeypatch) -> None:
    launcher = Fake()

    def interrupted(run: Run | None, record: RunRecord | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeJob, "done", lambda job: job.over)  # they take long
    with pytest.raises(KeyboardInterrupt):
        work(runs_of(seeds=3), launcher, tell=interrupted)
    assert [job.cancelled for job in launcher.jobs] == [True, True]


def test_progress_says_how_many_and_how_long(runs_of) -> None:
    runs, output = runs_of(seeds=3), io.StringIO()
    progress = Progress(output)

    def minutes(run: Run, recorder: Recorder) -> None:
        trained(run, recorder)
        replace(RunRecord.read(run.folder), seconds=90.0).write(run.folder)

    launcher = Fake(lambda run, attempt: diverging if run == runs[1] else minutes, at_once=1)
    pool = Pool(runs, launcher, tell=progress, poll=0.0)
    progress.begin(pool)
    pool.work()
    lines = output.getvalue().splitlines()
    assert "CoLA, m, plain, lr 0.001, seed 1: finished, mcc 0.3, 1 min 30 s" in lines
    assert any(line.startswith("1/3 done, 0 running, 1 finished, 0 failed") for line in lines)
    assert "about 3 min 00 s left" in output.getvalue()
    reason = "the training loss at update 50 is nan"
    assert f"CoLA, m, plain, lr 0.001, seed 2: diverged, 0 min 00 s ({reason})" in lines
    assert lines[-1] == "3/3 done, 0 running, 2 finished, 0 failed, 1 diverged"
    again = io.StringIO()
    Progress(again).begin(Pool(runs, launcher))
    assert again.getvalue() == "3 of 3 runs are done already\n"
