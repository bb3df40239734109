"""What a job of a sweep does: one run, in its own process, from its beginning or where it stood."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..compat.refused_job import raised_here
from .grid import Run
from .recorder import Recorder, recorded_progress, scores_in
from .run_lock import be_at_work
from .run_record import (
    DIVERGED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUN_FILE,
    RUNNING,
    RunRecord,
)
from .surroundings import hardware, peak_memory, versions

REFUSED = "fairseq-train: error: "
"""How the reason begins of a run that no second attempt will help."""

_DIVERGED = "FloatingPointError: "  # in the traceback that a worker sends
_REQUEUED = -1  # with which submitit ends a process that Slurm will start again


@dataclass(frozen=True)
class Job:
    """A run, and the device that it is to use; submitit sends it to the process.

    A cluster that takes the machine away starts it again: it goes on from its checkpoint.
    """

    run: Run
    devices: str | None = None
    """For CUDA_VISIBLE_DEVICES; None: a cluster looks after them, and after what the job starts."""

    def __call__(self) -> None:
        signal.signal(signal.SIGTERM, _interrupt)  # submitit has it ignored
        if self.devices is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.devices
            os.setsid()  # a group of processes, to be ended as one
        lock = be_at_work(self.run.folder)  # until this process is gone
        if record_of(self.run).state != FINISHED:  # by another sweep, while this was in a queue
            is_trained = self.run.parent is None
            work_on(self.run, train if is_trained else partial(average, lock=lock))

    def checkpoint(self) -> Any:
        """How submitit starts it again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def first_record(run: Run) -> RunRecord:
    """Of a run before its first attempt."""
    return RunRecord(
        key=run.key,
        task=run.task,
        model=run.model,
        strategy=run.strategy,
        lr=run.lr,
        seed=run.seed,
        setting=run.setting,
        command=run.command,
        configuration=run.configuration,
        versions={},
        hardware="",
        metric=run.metric,
        state=INTERRUPTED,
        reason="not begun",
        attempts=0,
        parent=None if run.parent is None else run.parent.key,
    )


def record_of(run: Run) -> RunRecord:
    """What is known of a run.

    Raises:
        UnreadableRunError: its `run.json` is damaged.
    """
    return RunRecord.read(run.folder) if (run.folder / RUN_FILE).is_file() else first_record(run)


def work_on(run: Run, do: Callable[[Run, Recorder], None]) -> None:
    """One attempt; how it ends is in `run.json`, whatever happens."""
    record = record_of(run)
    begun = replace(
        record,
        command=run.command,
        versions=versions(),
        hardware=hardware(),
        state=RUNNING,
        reason="",
        attempts=record.attempts + 1,
    )
    run.folder.mkdir(parents=True, exist_ok=True)
    recorder = Recorder(begun, run.folder)
    recorder.write()
    state, reason = FINISHED, ""
    requeued = None
    try:
        do(run, recorder)
    except (KeyboardInterrupt, Exception, SystemExit) as error:
        state, reason = _end(error)
        if state == FAILED:
            traceback.print_exc()
        requeued = error if isinstance(error, SystemExit) and error.code == _REQUEUED else None
    last = RunRecord.read(run.folder)  # which another process may have written: a GPU's
    replace(last, state=state, reason=reason).write(run.folder)
    if requeued is not None:
        raise requeued


def _end(error: BaseException) -> tuple[str, str]:
    """State and reason of an attempt that an error has ended."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "stopped"
    if isinstance(error, FloatingPointError):
        return DIVERGED, lines[0]
    if isinstance(error, ValueError) and raised_here(error):
        return FAILED, f"{REFUSED}{lines[0]}"
    if isinstance(error, SystemExit):
        return (INTERRUPTED, "requeued") if error.code == _REQUEUED else (FAILED, lines[-1])
    of_worker = next((line for line in reversed(lines) if _DIVERGED in line), None)
    if of_worker is not None:
        return DIVERGED, of_worker.partition(_DIVERGED)[2]
    return FAILED, f"{type(error).__name__}: {lines[-1]}"


def train(run: Run, recorder: Recorder) -> None:
    """`fairseq-train` in this process: the command of the run, word by word."""
    from ..registration import use_with_fairseq

    use_with_fairseq()
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.distributed import utils
    from fairseq_cli import train as program  # sets up the log, as the command does

    sys.argv = list(run.command)  # by which its messages begin
    parsed = options.parse_args_and_arch(options.get_training_parser())
    cfg = convert_namespace_to_omegaconf(parsed)
    utils.call_main(cfg, RecordedTraining(program, recorder, run.folder))


class RecordedTraining:
    """fairseq's `main`, whose worker that shows figures keeps the record."""

    def __init__(self, program: Any, recorder: Recorder, folder: Path) -> None:
        self._record, self._folder = recorder.record, folder
        self._own: Recorder | None = recorder
        self.__wrapped__ = program.main  # by which a patch knows it for a training

    def __getstate__(self) -> dict[str, Any]:
        return {"_record": self._record, "_folder": self._folder, "_own": None}

    def __call__(self, cfg: Any, **named: Any) -> Any:
        from fairseq.distributed import utils
        from fairseq_cli import train as program

        if not utils.is_master(cfg.distributed_training):
            return program.main(cfg, **named)
        recorder = self._own or Recorder(self._record, self._folder)
        with recorded_progress(recorder):
            try:
                return program.main(cfg, **named)
            finally:
                recorder.write(peak_memory=max(recorder.record.peak_memory or 0, peak_memory()))


def average(run: Run, recorder: Recorder, *, lock: int) -> None:
    """The average of a trained run's last epochs, and its scores on every dev set.

    Args:
        run: the average.
        recorder: of its record.
        lock: of `be_at_work`, which `tupe average` holds too: killed, this process leaves it.
    """
    assert run.parent is not None
    from ..inference.dev_scores import DevSet

    recorder.begin()
    last = record_of(run.parent).validations[-1]
    place = run.command.index("-o") + 1
    output = Path(run.command[place])
    output.unlink(missing_ok=True)
    words = [sys.executable, "-m", "tupe_plugin", *run.command[1 : place + 1]]
    done = subprocess.run(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, pass_fds=[lock]
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"tupe average: status {done.returncode}"]
        raise RuntimeError(said[-1])
    from ..checkpoint.read import read_checkpoint

    weights = read_checkpoint(output)["model"]
    for subset in str(run.configuration["valid-subset"]).split(","):
        dev = DevSet(output, run.data, subset=subset)
        recorder.validation(subset, last.update, last.epoch, scores_in(dev.scores(weights)))
    recorder.write(peak_memory=peak_memory())
