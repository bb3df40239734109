"""`--log-file`."""

from __future__ import annotations

import functools
from typing import Any


def open_log_file_once(progress_bar: Any) -> None:
    """In the second epoch each line comes twice, in the tenth ten times.

    Where: fairseq/logging/progress_bar.py:54: every epoch adds one more handler for the file.
    When: `--log-file`, and more than one epoch.
    Fix: a file that is open already is not opened again.
    """
    original = progress_bar.progress_bar
    opened: set[str] = set()

    @functools.wraps(original)
    def open_bar(*arguments: Any, log_file: str | None = None, **options: Any) -> Any:
        if log_file in opened:
            log_file = None
        elif log_file is not None:
            opened.add(log_file)
        return original(*arguments, log_file=log_file, **options)

    progress_bar.progress_bar = open_bar
