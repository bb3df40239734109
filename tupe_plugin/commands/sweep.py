"""`tupe sweep`: tasks x models x strategies x learning rates x seeds, as runs of fairseq-train.

What it can be asked for is described in `tupe_plugin/sweep/spec.py`, the names that it knows are in
`tupe_plugin/sweep/presets.toml`.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..data.folder_lock import folder_lock
from ..data.toml_file import read_toml
from ..sweep import spec as spec_of_sweep
from ..sweep.grid import Run, all_runs
from ..sweep.job import record_of
from ..sweep.launchers import JOBS, launcher_for
from ..sweep.option_check import check_commands
from ..sweep.option_words import Value
from ..sweep.pool import Pool
from ..sweep.presets import load_presets
from ..sweep.progress import Progress
from ..sweep.run_checkpoints import KEEP
from ..sweep.run_record import FAILED, RunRecord
from ..sweep.search import runs_of_the_best, runs_to_search
from ..sweep.spec import Spec, SpecError, spec_of
from . import report

_GO_ON = "run the same command again to go on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE.toml", help="the sweep; options count more"
    )
    parser.add_argument("--preset", help=f"one of {', '.join(load_presets()['preset'])}")
    parser.add_argument("--tasks", type=_words, help="of GLUE, such as CoLA,MRPC")
    parser.add_argument("--data", help="the folder that `tupe data task` wrote")
    parser.add_argument(
        "--model",
        action="append",
        metavar="[NAME=]PATH",
        help="a checkpoint, a folder with one, or none; several times for several models",
    )
    parser.add_argument("--strategies", type=_words, help="such as plain,rdrop+layer-decay")
    parser.add_argument("--lr", type=_rates, metavar="RATE,...", help="for every strategy")
    parser.add_argument("--seeds", type=_seeds, metavar="N|SEED,...", help="how many, or which")
    parser.add_argument(
        "--search-seeds",
        type=spec_of_sweep.SEEDS,
        metavar="N",
        help="search rates and settings with the first N seeds; the best alone get the others",
    )
    parser.add_argument(
        "--set",
        action="append",
        metavar="OPTION[=VALUE]",
        help="an option of fairseq-train for every run, such as max-epoch=3 or cpu",
    )
    parser.add_argument("-o", "--folder", help="where everything is written")
    parser.add_argument("--keep", choices=KEEP, help="checkpoints of finished runs (none)")
    parser.add_argument("--jobs", type=spec_of_sweep.JOBS, help="runs at a time (one for each GPU)")
    parser.add_argument("--retries", type=spec_of_sweep.RETRIES, help="of a run that fails (2)")
    parser.add_argument(
        "--most-runs",
        type=spec_of_sweep.RUNS,
        help=f"a sweep of more is refused ({spec_of_sweep.MOST_RUNS:,})",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")


def run(args: argparse.Namespace) -> int:
    file = {} if args.file is None else read_toml(args.file)
    spec = spec_of(file, _given(args), "" if args.file is None else str(args.file))
    runs = all_runs(spec)
    searched = runs_to_search(runs, spec.search_seeds)
    status = do_or_show(spec, searched, called="sweep", dry_run=args.dry_run)
    if args.dry_run:
        if others := spec.seeds[len(spec.search_seeds) :]:
            print(f"# and then seeds {', '.join(map(str, others))} of the best of each strategy")
        return status
    if not status and len(searched) < len(runs):
        best = runs_of_the_best(runs, map(record_of, searched))
        status = _work_through(spec, best, called="sweep")
    return status or _report(spec.folder)


def do_or_show(spec: Spec, runs: list[Run], *, called: str, dry_run: bool) -> int:
    """Work through runs, or print their commands.

    Args:
        spec: how they are worked through.
        runs: in order.
        called: the command that does so.
        dry_run: print, and run nothing.

    Returns:
        The exit status: 0, or that of a signal that has stopped it.

    Raises:
        SpecError: a run has failed.
        ValueError: a command is refused, or a folder holds another run.
    """
    check_commands(runs)
    if dry_run:
        print("\n".join(_lines(runs)))
        return 0
    return _work_through(spec, runs, called=called)


def _work_through(spec: Spec, runs: list[Run], *, called: str) -> int:
    """What `do_or_show` does with runs whose kinds fairseq is known to take."""
    launcher = launcher_for(spec)
    spec.folder.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    with folder_lock(spec.folder / ".lock"), _Signals() as signals:

        def tell(run: Run | None, record: RunRecord | None) -> None:
            progress(run, record)
            signals.act()

        pool = Pool(runs, launcher, spec.retries, spec.keep, tell)
        progress.begin(pool)
        try:
            pool.work()
        except _Terminated as stopped:
            print(f"tupe {called}: stopped; {_GO_ON}", file=sys.stderr)
            return 128 + stopped.args[0]
        finally:
            progress.end()
    failed = [run for run in runs if pool.ended[run.folder].state == FAILED]
    if failed:
        reason = pool.ended[failed[0].folder].reason
        raise SpecError(
            f"{len(failed)} of {len(runs)} runs failed, the first: {failed[0].name}: {reason}; "
            f"their output is in {spec.folder / JOBS}; the same command tries them again"
        )
    return 0


def _given(args: argparse.Namespace) -> dict[str, Any]:
    names = ("preset", "tasks", "data", "strategies", "lr", "seeds", "folder", "keep", "jobs")
    values = {name: getattr(args, name) for name in (*names, "retries")}
    values |= {"most-runs": args.most_runs, "search-seeds": args.search_seeds}
    given = {name: value for name, value in values.items() if value is not None}
    if args.model is not None:
        named = list(map(_model, args.model))
        given["models"] = dict(named)
        names_alone = [name for name, _ in named]
        twice = [name for name in given["models"] if names_alone.count(name) > 1]
        if twice:
            raise SpecError(f"--model: two are called {twice[0]}: give NAME=PATH")
    if args.set is not None:
        given["options"] = dict(map(option_given, args.set))
    return given


def _report(folder: Path) -> int:
    """`tupe report` of all that the folder holds."""
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    return report.run(parser.parse_args([str(folder)]))


def _lines(runs: list[Run]) -> Iterator[str]:
    for run in runs:
        yield f"# {run.name}"
        yield f"mkdir -p {shlex.quote(str(run.folder))}"
        yield shlex.join(run.command)


class _Terminated(BaseException):
    """A SIGTERM, or the terminal is gone."""


class _Signals:
    """Ctrl-C, SIGTERM, SIGHUP: heard at any time, and acted upon between two looks at the jobs.

    So none of them is lost sight of which is just being started.
    """

    def __init__(self) -> None:
        self._heard = 0

    def __enter__(self) -> _Signals:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._before = {number: signal.signal(number, self._hear) for number in numbers}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def act(self) -> None:
        """Raise what belongs to a signal that has come; further ones change nothing."""
        number, self._heard = self._heard, 0
        if number == signal.SIGINT:
            raise KeyboardInterrupt(_GO_ON)
        if number:
            raise _Terminated(number)

    def _hear(self, number: int, frame: Any) -> None:
        self._heard = number


def _words(text: str) -> list[str]:
    return text.split(",")


def _rates(text: str) -> list[float]:
    return [_number(float, word) for word in text.split(",")]


def _seeds(text: str) -> int | list[int]:
    seeds = [_number(int, word) for word in text.split(",")]
    return seeds if "," in text else seeds[0]


def _number(kind: Any, word: str) -> Any:
    try:
        return kind(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is no number") from None


def _model(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if equals:
        return name, path
    stem = Path(text).parent.name if Path(text).suffix == ".pt" else Path(text).name
    return stem or "model", text


def option_given(text: str) -> tuple[str, Value]:
    """The name and value of `OPTION=VALUE`, as a file would have them: without `=`, a switch."""
    name, equals, value = text.removeprefix("--").partition("=")
    if not equals:
        return name, True
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            pass
    return name, value
