"""Read a TOML file; the standard library does so from Python 3.11 on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class TomlError(ValueError):
    """It is no TOML; the message names the file and the line."""


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file.

    Raises:
        TomlError: it is none.
        OSError: it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # tomllib's, and text that is not UTF-8
        raise TomlError(f"{path} is no TOML file: {error}") from error
