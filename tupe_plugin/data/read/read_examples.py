"""Take texts and labels out of a task of your own: TSV, JSON lines, or SQuAD v2's JSON.

The class names are those of the training file; the dev file may have no other.
`write/write_own_task.py` makes files of the rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .examples import Example, MalformedTableError, numbered_lines
from .pick_columns import pick_columns

# format -> split -> names that are looked for
FILE_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "tsv": {
        "train": ("train.tsv",),
        "valid": ("dev.tsv", "valid.tsv", "validation.tsv"),
        "test": ("test.tsv",),
    },
    "jsonl": {
        "train": ("train.json", "train.jsonl"),
        "valid": ("dev.json", "dev.jsonl", "valid.jsonl", "validation.jsonl"),
        "test": ("test.json", "test.jsonl"),
    },
    "squad2": {
        "train": ("train-v2.0.json",),
        "valid": ("dev-v2.0.json",),
        "test": ("test-v2.0.json",),
    },
}
_RESERVED = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"}  # fairseq gives them a meaning


@dataclass(frozen=True)
class Columns:
    """Where an example's parts stand: names of columns, or keys of a JSON object."""

    texts: tuple[str, ...]
    label: str
    index: str | None = None


Rows = Iterator[Example | MalformedTableError]
LabelReader = Callable[[str], str]  # raises ValueError for a text that is no label


def read_tsv(path: Path, columns: Columns, read_label: LabelReader | None) -> Rows:
    """Examples of a tab-separated table with a header; no label is read without `read_label`."""
    wanted = [*columns.texts, *([columns.label] if read_label else [])]
    index = [] if columns.index is None else [columns.index]
    # Only predictions of test rows are listed by it; the other files may lack it.
    wanted, optional = (wanted, index) if read_label else ([*wanted, *index], [])
    for row in pick_columns(path, wanted, header=True, optional=optional):
        if isinstance(row, MalformedTableError):
            yield row
            continue
        where, values = row
        fields = dict(zip([*wanted, *optional], values, strict=True))
        yield _example(where, fields, columns, read_label)


def read_jsonl(path: Path, columns: Columns, read_label: LabelReader | None) -> Rows:
    """Examples of a file with a JSON object on each line, as CLUE's tasks come."""
    for where, line in numbered_lines(path):
        if isinstance(line, MalformedTableError):
            yield line
            continue
        if not line.strip():
            continue
        try:
            fields = _json(line)
        except _JsonError as error:
            yield MalformedTableError(f"{where}: {error}")
            continue
        if not isinstance(fields, dict):
            yield MalformedTableError(f"{where}: not a JSON object")
            continue
        yield _example(where, fields, columns, read_label)


class _JsonError(ValueError):
    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def _json(text: str) -> Any:
    """JSON without what Python's reader adds to it, or cannot give back as text.

    Raises:
        _JsonError: the message says what is wrong.
    """
    try:
        return json.loads(text, parse_constant=_no_number, object_pairs_hook=_without_copies)
    except json.JSONDecodeError as error:
        message = f"not JSON ({error.msg}); is the download complete?"
        raise _JsonError(message, error.lineno) from error
    except RecursionError as error:
        raise _JsonError("brackets within brackets, too many to be read") from error


def _no_number(name: str) -> None:
    raise _JsonError(f"{name} is no number of JSON")


def _without_copies(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _JsonError(f"the key {twice!r} is there twice")
    return found


def _example(
    where: str, fields: dict[str, Any], columns: Columns, read_label: LabelReader | None
) -> Example | MalformedTableError:
    index = columns.index
    needed = [columns.label] if read_label else [] if index is None else [index]
    for name in (*columns.texts, *needed):
        if name not in fields:
            return MalformedTableError(
                f"{where}: no column {name!r}; found {', '.join(map(repr, fields))}"
            )
        if not isinstance(fields[name], (str, int, float)):
            return MalformedTableError(f"{where}: {name!r} is {fields[name]!r}, not a text")
    named = None if index is None else fields.get(index)
    try:
        return Example(
            tuple(in_one_line(str(fields[name])) for name in columns.texts),
            None if read_label is None else read_label(in_one_line(str(fields[columns.label]))),
            None if named is None else in_one_line(str(named)),
        )
    except ValueError as error:
        return MalformedTableError(f"{where}: {error}")


def in_one_line(text: str) -> str:
    """A text that is one field of one line.

    Raises:
        ValueError: it cannot be written (half of a character's two codes, as JSON can have it).
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise ValueError(f"the text has {half!r}, which is half of a character") from error
    return text.replace("\r", " ").replace("\n", " ").replace("\t", " ")


def read_squad2(path: Path, columns: Columns, read_label: LabelReader | None) -> Rows:
    """Questions of SQuAD v2 with their paragraphs: can it be answered from the paragraph?"""
    lines = []
    for _, line in numbered_lines(path):
        if isinstance(line, MalformedTableError):
            raise line
        lines.append(line)
    try:
        content = _json("\n".join(lines))
    except _JsonError as error:
        place = path if error.line is None else f"{path}:{error.line}"
        raise MalformedTableError(f"{place}: {error}") from error
    try:
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                context = _text(paragraph, "context")
                for question in paragraph["qas"]:
                    label = None
                    if read_label is not None:
                        impossible = question["is_impossible"]
                        label = read_label("unanswerable" if impossible else "answerable")
                    texts = (_text(question, "question"), context)
                    yield Example(texts, label, in_one_line(str(question["id"])))
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedTableError(
            f"{path}: not of the form of SQuAD v2 ({type(error).__name__}: {error})"
        ) from error


def _text(fields: dict[str, Any], name: str) -> str:
    if not isinstance(fields[name], str):
        raise TypeError(f"{name!r} is {fields[name]!r}, not a text")
    return in_one_line(fields[name])


READERS: dict[str, Callable[[Path, Columns, LabelReader | None], Rows]] = {
    "tsv": read_tsv,
    "jsonl": read_jsonl,
    "squad2": read_squad2,
}


def find_files(folder: Path, format_name: str) -> dict[str, Path]:
    """Split -> file; the test file may be missing.

    Raises:
        MalformedTableError: there is no training or no dev file.
    """
    found = {}
    for split, names in FILE_NAMES[format_name].items():
        path = next((folder / name for name in names if (folder / name).exists()), None)
        if path is not None:
            found[split] = path
        elif split != "test":
            raise MalformedTableError(f"{folder}: no {' or '.join(names)} for the {split} set")
    return found


def sort_labels(labels: set[str]) -> list[str]:
    """Class k is the k-th label: numbers by size, so that class 3 is `3`, else by letters."""
    try:
        return sorted(labels, key=int)
    except ValueError:
        return sorted(labels)


class LabelNames:
    """The class names of a task: collected from the training file, then closed."""

    def __init__(self) -> None:
        self._written: dict[str, str] = {}  # as fairseq will have it -> as the file has it

    def __iter__(self) -> Iterator[str]:
        return iter(sort_labels(set(self._written)))

    def __len__(self) -> int:
        return len(self._written)

    def add(self, text: str) -> str:
        """A label of the training file, without white space, as fairseq needs it.

        Raises:
            ValueError: it cannot be the name of a class.
        """
        label = "_".join(text.split())
        if not label:
            raise ValueError("the label is empty")
        if label in _RESERVED:
            raise ValueError(f"label {label!r} means something else in fairseq; rename it")
        if self._written.setdefault(label, text) != text:
            raise ValueError(
                f"labels {text!r} and {self._written[label]!r} would both become {label!r}"
            )
        return label

    def find(self, text: str) -> str:
        """A label of another file.

        Raises:
            ValueError: the training file does not have it.
        """
        label = "_".join(text.split())
        if label not in self._written:
            names = list(self)
            raise ValueError(
                f"label {text!r} is not in the training file, which has "
                f"{', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
            )
        return label
