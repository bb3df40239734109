"""Arguments of the Python API, refused by name where they cannot be."""

from __future__ import annotations

import torch

from ..core.bounds import Whole
from .text_errors import TextError


def usable_device(device: str | torch.device) -> torch.device:
    """The device that is there.

    Raises:
        TextError: there is none of that name, or none that computes.
    """
    try:
        made = torch.ones(1, device=device)
        made.cpu()  # not on `meta`, which has no numbers
    except (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        why = str(error).split("\n")[0]
        raise TextError(f"device={str(device)!r}: {why}; give cpu or cuda") from error
    return made.device


def whole_number(name: str, value: int, bound: Whole) -> int:
    """A whole number of Python's or numpy's.

    Raises:
        TextError: it is something else, or out of bounds.
    """
    number = value if isinstance(value, bool) else getattr(value, "__index__", lambda: value)()
    if problem := bound.problem(number):
        raise TextError(f"{name}={value!r}: {problem}")
    return number
