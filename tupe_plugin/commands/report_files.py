"""The files that a report is written to, beside the terminal: their flags, checks and writing."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ..core.whole_file import check_replaceable, whole_file
from .picture_libraries import check_picture_libraries

KINDS = {  # flag -> what is written there
    "markdown": "the table",
    "csv": "the figures in full precision",
    "html": "a page with the table and pictures, which needs no network",
}


def add_file_arguments(parser: argparse.ArgumentParser) -> None:
    for kind, what in KINDS.items():
        parser.add_argument(f"--{kind}", type=Path, metavar="FILE", help=f"write {what} there")


def check_files(args: argparse.Namespace) -> None:
    """Before any work is done.

    Raises:
        OSError: a file cannot be replaced.
        MissingPictureLibraryError: a page needs a library that is not installed.
    """
    for kind in KINDS:
        if (path := getattr(args, kind)) is not None:
            check_replaceable(path)
    if args.html is not None:
        check_picture_libraries("--html", "matplotlib", "jinja2")


def print_and_write(args: argparse.Namespace, text: str, **others: Callable[[], str]) -> None:
    """Write what the flags ask for, and print a table; `others` make what is no Markdown.

    Raises:
        OSError: a file cannot be written.
    """
    for kind, make in {"markdown": lambda: text, **others}.items():
        if (path := getattr(args, kind)) is not None:
            with whole_file(path) as unfinished:
                unfinished.write_text(make(), encoding="utf-8")
    print(text, end="")
