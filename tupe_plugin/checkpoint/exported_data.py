"""What the data of a checkpoint say: how text is cut, its symbols, names of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..core.class_labels import classes_among
from ..data.dictionary_file import NAME, dictionary_in, symbols_in
from .errors import UnusableCheckpointError
from .tokenizer_files import Vocabulary, gpt2_encoder, vocabulary_of_data


@dataclass(frozen=True)
class DataOfModel:
    """A folder of data of either task, or one that `tupe import` made."""

    folder: Path
    vocabulary: Vocabulary | None
    """What text is cut into, in the order of another model, if it came from one."""
    units: list[str]
    """What `dict.txt` lists, under the names of the vocabulary."""
    classes: list[str] | None
    """Names of the classifier's outputs."""

    @property
    def dictionary(self) -> Path:
        return _dictionary(self.folder)


def read_data_of_model(folder: Path) -> DataOfModel:
    """Read it.

    Raises:
        CheckpointError: a file is missing or damaged.
        OSError: a file cannot be read.
    """
    vocabulary = vocabulary_of_data(folder)
    labels = folder / "label" / NAME
    return DataOfModel(
        folder,
        vocabulary,
        _units(_dictionary(folder), vocabulary),
        classes_among(symbols_in(labels)) if labels.is_file() else None,
    )


def _dictionary(folder: Path) -> Path:
    path = dictionary_in(folder)
    if path is None:
        raise UnusableCheckpointError(
            f"{folder} has no {NAME}: give --data the data that the checkpoint was trained on"
        )
    return path


def _units(dictionary: Path, vocabulary: Vocabulary | None) -> list[str]:
    units = symbols_in(dictionary)
    if vocabulary is None or vocabulary.merges is None:
        return units
    names = {str(number): unit for unit, number in gpt2_encoder(vocabulary.merges).items()}
    return [names.get(unit, unit) for unit in units]
