"""fairseq's `dict.txt`: a symbol and its count on each line."""

from __future__ import annotations

from pathlib import Path

NAME = "dict.txt"
OF_SENTENCES = Path("input0") / NAME
"""In data of --task sentence_prediction."""


def dictionary_in(folder: Path) -> Path | None:
    """The dictionary of the texts in a folder of data of either task; None if there is none."""
    paths = (folder / OF_SENTENCES, folder / NAME)
    return next((path for path in paths if path.is_file()), None)


def symbols_in(path: Path, *, errors: str = "strict") -> list[str]:
    """The symbols that a dictionary lists, in order.

    Args:
        path: of the file.
        errors: what to do with bytes that are no UTF-8, as `open` has it.
    """
    lines = path.read_text(encoding="utf-8", errors=errors).splitlines()
    return [line.rsplit(" ", 1)[0] for line in lines]
