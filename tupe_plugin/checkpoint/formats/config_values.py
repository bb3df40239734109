"""Values of a `config.json`, each of the kind that it should be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.bounds import DROPOUT, Number
from ..errors import UnusableCheckpointError

_LARGEST = 1_000_000


def whole(
    config: Mapping[str, Any], name: str, path: object, *, default: int | None = None, low: int = 1
) -> int:
    """A whole number.

    Raises:
        UnusableCheckpointError: it is not one, or is out of range.
    """
    value = config.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= _LARGEST:
        raise UnusableCheckpointError(
            f"{path}: {name} should be a whole number from {low} to {_LARGEST:,}, and is {value!r}"
        )
    return value


def real(
    config: Mapping[str, Any],
    name: str,
    path: object,
    *,
    default: float,
    bound: Number = DROPOUT,
) -> float:
    """A number; the default where there is none.

    Raises:
        UnusableCheckpointError: it is not one, or is out of range.
    """
    value = config.get(name)
    value = default if value is None else value
    if bound.problem(value) is not None:
        raise UnusableCheckpointError(f"{path}: {name} should be {bound}, and is {value!r}")
    return float(value)


def like(default: Any, config: Mapping[str, Any], name: str, path: object) -> Any:
    """A value of the kind of the default.

    Raises:
        UnusableCheckpointError: it is of another kind, or out of range.
    """
    if isinstance(default, bool):
        return one_of({True: True, False: False}, config.get(name, default), name, path)
    if isinstance(default, int):
        return whole(config, name, path, default=default, low=0)
    return real(config, name, path, default=default)


def one_of(known: Mapping[Any, Any], value: Any, name: str, path: object) -> Any:
    """What a known value stands for.

    Raises:
        UnusableCheckpointError: it is not known.
    """
    for one, meaning in known.items():
        if type(value) is type(one) and value == one:
            return meaning
    raise UnusableCheckpointError(
        f"{path}: {name} is {value!r}; supported: {', '.join(map(str, known))}"
    )


def default_label(place: int) -> str:
    """What transformers calls a class without a name."""
    return f"LABEL_{place}"
