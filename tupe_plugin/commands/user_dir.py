"""`tupe user-dir`: where this package lies, for `fairseq-train --user-dir "$(tupe user-dir)"`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> int:
    print(Path(__file__).resolve().parent.parent)
    return 0
