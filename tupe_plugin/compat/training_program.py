"""Which module is a program of fairseq, such as the one that trains, however it was started."""

from __future__ import annotations

import inspect
import sys
from typing import Any

NAME = "fairseq_cli.train"


def training_program() -> Any:
    """`fairseq_cli.train` in this process; None if it is not there."""
    return program_called(NAME)


def program_called(name: str) -> Any:
    """The module of fairseq_cli that has this name in this process; None if it is not there.

    `fairseq-train` and `fairseq-hydra-train` import `fairseq_cli.train`; with `python -m
    fairseq_cli.train`, and in the workers of that, it is called `__main__`.
    """
    for module in (sys.modules.get("__main__"), sys.modules.get(name)):
        spec = getattr(module, "__spec__", None)
        if spec is not None and spec.name == name:
            return module
    return None


def is_of_training(main: Any) -> bool:
    """Whether a function that fairseq is about to call as its `main` is that program's."""
    program = training_program()
    where = getattr(inspect.unwrap(main), "__globals__", None)
    return program is not None and where is vars(program)
