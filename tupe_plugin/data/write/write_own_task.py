"""Write the rows of a task of your own as the text files of `write_examples`."""

from __future__ import annotations

import sys
from pathlib import Path

from ..glue_tasks import finite_number
from ..read.examples import MalformedTableError
from ..read.read_examples import READERS, Columns, LabelNames, LabelReader, find_files
from .write_examples import write_label_dictionary, write_split


def write_own_task(
    folder: Path,
    format_name: str,
    columns: Columns,
    output: Path,
    *,
    regression: bool,
    skip_malformed: bool,
) -> None:
    """Write all splits and the dictionary of labels; the report goes to standard error.

    Raises:
        MalformedTableError: a file or a row is not as it should be.
    """
    names = LabelNames()
    read_number: LabelReader = lambda text: repr(finite_number(text))  # noqa: E731
    label_readers: dict[str, LabelReader | None] = {
        "train": read_number if regression else names.add,
        "valid": read_number if regression else names.find,
        "test": None,
    }
    texts = [f"input{place}" for place in range(len(columns.texts))]
    more_parts = {"train": ["label"], "valid": ["label", "index"], "test": ["index"]}
    for split, path in find_files(folder, format_name).items():
        counts = write_split(
            READERS[format_name](path, columns, label_readers[split]),
            output,
            split,
            parts=[*texts, *more_parts[split]],
            source=path,
            skip_malformed=skip_malformed,
        )
        sys.stderr.write(f"{folder.name} {split}: {counts}\n")
    if not regression:
        if len(names) < 2:
            raise MalformedTableError(
                f"{folder}: all training rows have the label {next(iter(names))}"
            )
        write_label_dictionary(output, names)
        sys.stderr.write(f"{folder.name}: --num-classes {len(names)}\n")
