"""How a job ends that this package refuses: in one line, without a traceback."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from .training_program import is_of_training

PACKAGE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
MESSAGES = (ValueError, RuntimeError, OSError, MemoryError)
"""What this package raises at those who use it; anything else is a fault of its own."""
COMMANDS, ENTRIES = "fairseq_cli", ("cli_main", "_hydra_main")
"""The folder of fairseq's commands, and the functions that they begin with."""

logger = logging.getLogger(__name__)


class RefusedJobError(ValueError):
    """What the user gave cannot be trained with; the message says what to do."""


class RefusedInWorkerError(Exception):
    """Carries the line of a refusal to the process that has started the workers."""


def bring_home_what_workers_refuse(distributed_utils: Any) -> None:
    """`ProcessRaisedException: -- Process 0 terminated with the following error:`, and a traceback.

    Where: fairseq/distributed/utils.py:344: fairseq starts a worker for each GPU itself, and torch
    gives the first one's traceback as the text of its own error.
    When: a worker refuses the job, as a job of one worker is refused below.
    Fix: the line alone is raised again.
    """
    from torch.multiprocessing import ProcessRaisedException

    distributed_main, call_main = distributed_utils.distributed_main, distributed_utils.call_main

    @functools.wraps(distributed_main)
    def run_worker(number: int, main: Any, cfg: Any, named: Any) -> Any:
        try:
            return distributed_main(number, main, cfg, named)
        except MESSAGES as error:
            if cfg.distributed_training.distributed_no_spawn or not raised_here(error):
                raise
            raise RefusedInWorkerError(str(error)) from error

    @functools.wraps(call_main)
    def call_and_listen(cfg: Any, main: Any, **named: Any) -> Any:
        try:
            return call_main(cfg, main, **named)
        except ProcessRaisedException as error:
            _, ours, line = str(error).rpartition(f"{RefusedInWorkerError.__name__}: ")
            if not ours:
                raise
            raise RefusedJobError(line.strip()) from error

    distributed_utils.distributed_main = run_worker
    distributed_utils.call_main = call_and_listen


def end_refused_jobs_in_one_line(distributed_utils: Any) -> None:
    """The line that says what is wrong stands below a traceback through fairseq, torch and hydra.

    Where: fairseq/distributed/utils.py:352: what `fairseq-train` and `fairseq-hydra-train` call.
    When: a part of this package raises an error, which is a message to the user; a command of
    fairseq finds by an assertion that options do not go together; Ctrl-C.
    Fix: the program ends with that line alone, as for an error of the command line. With
    `LOGLEVEL=DEBUG`, fairseq's own variable, the traceback is there as well. A program of another
    kind that calls the function itself gets the error, as before.
    """
    original = distributed_utils.call_main

    @functools.wraps(original)
    def call_main(cfg: Any, main: Any, **named: Any) -> Any:
        try:
            return original(cfg, main, **named)
        except (*MESSAGES, AssertionError) as error:
            line = _line_of(error)
            if line is None or not in_a_command():
                raise
            exit_with(line)
        except KeyboardInterrupt:
            end_interrupted_with(f"interrupted{_way_on(cfg, main)}")
            raise

    distributed_utils.call_main = call_main


def end_refused_commands_in_one_line(options: Any) -> None:
    """The same traceback in `fairseq-generate` and `fairseq-preprocess`.

    Where: fairseq_cli/generate.py:413 and preprocess.py:389 call their `main` themselves.
    When: as above, but for Ctrl-C.
    Fix: once a command of fairseq makes its option parser, Python prints the line alone where it
    prints the traceback of an error that ends the program.
    """
    original = options.get_parser

    def line_of(error: BaseException) -> str | None:
        line = _line_of(error)
        return None if line is None else f"error: {line}"

    @functools.wraps(original)
    def get_parser(*arguments: Any, **named: Any) -> Any:
        if in_a_command():
            _print_in_place_of_tracebacks(line_of)
        return original(*arguments, **named)

    options.get_parser = get_parser


def exit_with(error: BaseException | str) -> NoReturn:
    """End the program with a line that begins as those of its option parser do."""
    logger.debug("refused", exc_info=True)
    sys.exit(f"{os.path.basename(sys.argv[0])}: error: {error}")


def end_interrupted_with(line: str) -> None:
    """Let Python print a line where it prints the traceback of Ctrl-C.

    The program must still die of the signal: a shell script around it goes on otherwise.
    """
    _print_in_place_of_tracebacks(
        lambda error: line if isinstance(error, KeyboardInterrupt) else None
    )


def _print_in_place_of_tracebacks(line_of: Callable[[BaseException], str | None]) -> None:
    """Let Python print this line of an error that ends the program, unless it is None."""
    usual = sys.excepthook

    def show(kind: Any, error: Any, traceback: Any) -> None:
        line = line_of(error)
        if line is None:
            usual(kind, error, traceback)
        else:
            logger.debug("ended", exc_info=error)
            sys.stderr.write(f"{os.path.basename(sys.argv[0])}: {line}\n")

    sys.excepthook = show


def in_a_command() -> bool:
    """Whether one of fairseq's commands is what called this."""
    frame = sys._getframe()
    while frame is not None:
        folder, _ = os.path.split(frame.f_code.co_filename)
        if os.path.basename(folder) == COMMANDS and frame.f_code.co_name in ENTRIES:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _way_on(cfg: Any, main: Any) -> str:
    """What the same command would do."""
    if not is_of_training(main):
        return ""
    last = os.path.join(
        cfg.checkpoint.save_dir, f"checkpoint_last{cfg.checkpoint.checkpoint_suffix}.pt"
    )
    if os.path.isfile(last):
        return f": start the same command again to go on from {last}"
    return f": there is no {last} yet, so the same command starts from the beginning"


def raised_here(error: BaseException) -> bool:
    """Whether a `raise` of this package made the error, and no library that it called."""
    return _where_raised(error).startswith(PACKAGE + os.sep)


def _line_of(error: BaseException) -> str | None:
    """What to tell the user; None of a fault, which keeps its traceback."""
    if isinstance(error, AssertionError):
        if str(error).startswith("Must specify batch size"):
            return "no batch size: give --batch-size (sentences) or --max-tokens"
        if str(error).startswith("Sentences lengths should not exceed max_tokens="):
            return f"{error}: raise --max-tokens, or --max-tokens-valid for a validation"
        folder = os.path.basename(os.path.dirname(_where_raised(error)))
        return str(error) or None if folder == COMMANDS else None
    return str(error) if isinstance(error, MESSAGES) and raised_here(error) else None


def _where_raised(error: BaseException) -> str:
    """The file of the `raise`; nothing of an error that was not raised."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return "" if place is None else os.path.realpath(place.tb_frame.f_code.co_filename)
