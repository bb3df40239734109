"""The libraries that making data needs: the extra `[data]` of this package."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import metadata

NEEDED = (
    *("sacremoses", "tokenizers", "sentencex", "mwparserfromhell", "zstandard", "rapidgzip"),
    "datasketch",  # to here: the extra
    *("regex", "tqdm", "numpy"),
)
_ADVICE = (
    "pip install 'tupe-plugin[{}]', or activate the environment that `make install` made "
    "(. .venv/bin/activate), or set PYTHON to the Python of another that has them"
)


class MissingLibraryError(ValueError):
    """A library is not installed; the message names it, what needs it, and what to do."""

    def __init__(self, names: Iterable[str], needed_by: str = "", extra: str = "data") -> None:
        python = os.environ.get("PYTHON") or sys.executable
        need = f", which {needed_by} needs" if needed_by else ""
        super().__init__(f"{python} has no {', '.join(names)}{need}: {_ADVICE.format(extra)}")


def check_libraries() -> None:
    """Before any work is done.

    Raises:
        MissingLibraryError: one is not installed.
    """
    installed = versions_of(NEEDED)
    missing = [name for name in NEEDED if name not in installed]
    if missing:
        raise MissingLibraryError(missing)


def versions_of(names: Iterable[str]) -> dict[str, str]:
    """Python's version, and that of each library that is installed."""
    versions = {"python": ".".join(map(str, sys.version_info[:2]))}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass  # said by `check_libraries` where it is needed
    return versions
