"""How a job ends that is refused before its first update: in one line, without a traceback."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any


class RefusedJobError(ValueError):
    """What the user gave cannot be trained with; the message says what to do."""


def end_refused_jobs_in_one_line(distributed_utils: Any) -> None:
    """The line that says what is wrong stands below a traceback through fairseq, torch and hydra.

    Where: fairseq/distributed/utils.py:352: what `fairseq-train` and `fairseq-hydra-train` call.
    When: a job is refused.
    Cure: the program ends with that line alone, as for an error of the command line.
    """
    original = distributed_utils.call_main

    @functools.wraps(original)
    def call_main(cfg: Any, main: Any, **named: Any) -> Any:
        try:
            return original(cfg, main, **named)
        except RefusedJobError as error:
            sys.exit(f"{os.path.basename(sys.argv[0])}: error: {error}")

    distributed_utils.call_main = call_main
