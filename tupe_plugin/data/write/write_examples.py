"""Write a split's examples as the text files that fairseq-preprocess and `tupe predict` take.

DIR/<split>.input0   the text, or the first of a pair's, one example a line
DIR/<split>.input1   the second of a pair's
DIR/<split>.label    the label, where it is public
DIR/<split>.index    the row's number or name in the source, where results go back by it
DIR/label.dict.txt   fairseq's dictionary of the class names; none for regression
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..read.examples import Example, MalformedTableError

LABEL_DICTIONARY = "label.dict.txt"


@dataclass(frozen=True)
class Counts:
    """How many rows of a file were taken and how many malformed ones were dropped."""

    rows: int
    dropped: int
    first_dropped: str

    def __str__(self) -> str:
        dropped = f"; {self.dropped} dropped, first {self.first_dropped}" if self.dropped else ""
        return f"{self.rows} rows{dropped}"


def write_split(
    examples: Iterable[Example | MalformedTableError],
    output: Path,
    split: str,
    *,
    parts: Sequence[str],
    source: Path,
    skip_malformed: bool = False,
) -> Counts:
    """Write one split; `parts` names its files: `input0`, `input1`, `label`, `index`.

    Raises:
        MalformedTableError: a malformed row, unless it is a training row to be skipped; two rows of
            one index, or one without; no row at all.
    """
    sinks = {
        part: open(output / f"{split}.{part}", "w", encoding="utf-8", newline="\n")  # noqa: SIM115
        for part in parts
    }
    rows = dropped = 0
    first_dropped = ""
    by_number = True  # the rows have no index: their numbers are taken
    indices: set[str] = set()
    try:
        for example in examples:
            if isinstance(example, MalformedTableError):
                # Rows that are scored must all be there, in order: only training rows can go.
                if not (skip_malformed and split == "train"):
                    raise example
                dropped += 1
                first_dropped = first_dropped or str(example)
                continue
            values = {f"input{place}": text for place, text in enumerate(example.inputs)}
            values["label"] = example.label or ""
            values["index"] = str(rows) if example.index is None else example.index
            if "index" in sinks:
                if rows and (example.index is None) != by_number:
                    raise MalformedTableError(
                        f"{source}: row {rows + 1} has {'no' if example.index is None else 'an'} "
                        "index, unlike those before"
                    )
                by_number = example.index is None
                if values["index"] in indices:
                    raise MalformedTableError(f"{source}: two rows have index {values['index']!r}")
                indices.add(values["index"])
            for part, sink in sinks.items():
                sink.write(values[part] + "\n")
            rows += 1
    finally:
        for sink in sinks.values():
            sink.close()
    if rows == 0:
        raise MalformedTableError(f"{source}: no row of data in it; is the download complete?")
    return Counts(rows, dropped, first_dropped)


def write_label_dictionary(output: Path, labels: Iterable[str]) -> None:
    """fairseq's dictionary: class k is the k-th label."""
    lines = "".join(f"{label} 1\n" for label in labels)
    (output / LABEL_DICTIONARY).write_text(lines, encoding="utf-8", newline="\n")
