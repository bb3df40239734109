"""Ask fairseq whether it takes the commands of a sweep, before any of them runs."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable

from .grid import Run
from .option_words import Value
from .spec import SpecError


def check_commands(runs: Iterable[Run]) -> None:
    """Parse each kind of command once: rates and seeds are checked already.

    Raises:
        SpecError: fairseq refuses one; the message has its words.
    """
    from ..registration import use_with_fairseq

    use_with_fairseq()
    trained = [run for run in runs if run.parent is None]
    kinds = {frozenset(run.configuration.items() - _checked(run)): run for run in trained}
    for run in kinds.values():
        _check(run)


def _checked(run: Run) -> set[tuple[str, Value]]:
    """What is known to be good, so that a kind of run is tried once for all of them."""
    names = {"lr", "seed", "num-classes", "regression-target", "valid-subset"}
    names |= {"best-checkpoint-metric", "maximize-best-checkpoint-metric"}
    return {(name, value) for name, value in run.configuration.items() if name in names}


def _check(run: Run) -> None:
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.distributed import utils

    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            parser = options.get_training_parser()
            parsed = options.parse_args_and_arch(parser, list(run.command[1:]))
            parsed.distributed_world_size = 1  # no workers are started to do nothing
            utils.call_main(convert_namespace_to_omegaconf(parsed), _nothing)
    except (SystemExit, ValueError) as refusal:
        of_parser = isinstance(refusal, SystemExit) and not isinstance(refusal.code, str)
        line = (errors.getvalue() if of_parser else str(refusal)).strip().splitlines()[-1]
        said = line.rpartition("error: ")[2]
        raise SpecError(f"{run.name}: fairseq-train refuses it: {said}") from refusal


def _nothing(cfg: object) -> None:
    """In the place of a training."""
