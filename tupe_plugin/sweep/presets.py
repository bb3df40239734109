"""Read `presets.toml`: the strategies and the sweeps that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..data.toml_file import read_toml

TABLE = Path(__file__).with_suffix(".toml")


class UnknownPresetError(ValueError):
    """There is none of that name; the message names those that are."""


@cache
def load_presets() -> dict[str, Any]:
    return read_toml(TABLE)


def preset(name: str) -> dict[str, Any]:
    """The file of a sweep that a name stands for.

    Raises:
        UnknownPresetError: there is none.
    """
    presets = load_presets()["preset"]
    if name not in presets:
        raise UnknownPresetError(f"no preset {name!r}; there is {', '.join(presets)}")
    return presets[name]


def laid_over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Two files of a sweep as one: the upper one's entries count, one by one within tables."""
    together = {**lower, **upper}
    for name in lower.keys() & upper.keys():
        if isinstance(lower[name], Mapping) and isinstance(upper[name], Mapping):
            together[name] = laid_over(lower[name], upper[name])
    return together
