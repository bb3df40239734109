"""Files for the GLUE server (gluebenchmark.com): one TSV for each test set, all in one zip.

    index<TAB>prediction     the header of each file
    0<TAB>entailment         one row for each row of the official test set, in its order

Classes go by their names: `0` and `1` for CoLA, SST-2, MRPC, QQP, WNLI; `entailment` and its like
for MNLI, QNLI, RTE and the diagnostic set (AX). STS-B's scores are from 0 to 5. The server wants
all eleven files in one zip.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.whole_file import whole_file
from ..data.glue_tasks import GlueFile, GlueTask, load_tasks

HEADER = "index\tprediction"
HIGHEST_SCORE = 5.0  # of STS-B; the lowest is 0
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold


class SubmissionError(ValueError):
    """A file that the server would refuse or misread; the message says what is wrong with it."""


@dataclass(frozen=True)
class Submission:
    """One of the server's files: the predictions of one test set."""

    task: GlueTask
    file: GlueFile

    @property
    def file_name(self) -> str:
        return f"{self.file.server}.tsv"

    def prediction(self, value: str | float) -> str:
        """A class name, or a score as the server takes it.

        Raises:
            SubmissionError: the server does not know the class.
        """
        if self.task.is_regression:
            return f"{min(max(float(value), 0.0), HIGHEST_SCORE):.3f}"
        if value not in self.task.labels:
            raise SubmissionError(
                f"{self.file_name}: {value!r} is none of {', '.join(self.task.labels)}"
            )
        return str(value)

    def text(self, predictions: Sequence[str | float], indices: Sequence[str] | None = None) -> str:
        """The whole file, checked.

        Raises:
            SubmissionError: the server would refuse it.
        """
        names = map(str, range(len(predictions))) if indices is None else indices
        rows = zip(names, map(self.prediction, predictions), strict=True)
        text = "".join(f"{line}\n" for line in (HEADER, *map("\t".join, rows)))
        self.check(text)
        return text

    def constant_text(self) -> str:
        """A file made without a model: the same prediction in every row."""
        return self.text([self.task.constant] * self.file.rows)

    def check(self, text: str) -> None:
        """Hold a file against the server's format.

        Raises:
            SubmissionError: header, number or order of rows, or a prediction is not as it must be.
        """
        lines = text.split("\n")
        if lines[0] != HEADER:
            raise SubmissionError(f"{self.file_name}: the first line is not {HEADER!r}")
        if lines.pop() != "":
            raise SubmissionError(f"{self.file_name}: the last line has no end: cut off?")
        if len(lines) - 1 != self.file.rows:
            raise SubmissionError(
                f"{self.file_name}: {len(lines) - 1} rows, the official test set has "
                f"{self.file.rows}"
            )
        for number, line in enumerate(lines[1:]):
            index, _, prediction = line.partition("\t")
            if index != str(number):
                raise SubmissionError(
                    f"{self.file_name}:{number + 2}: index {index!r} where {number} should be"
                )
            if not self._is_prediction(prediction):
                raise SubmissionError(
                    f"{self.file_name}:{number + 2}: {prediction!r} is no prediction of this task"
                )

    def _is_prediction(self, text: str) -> bool:
        if not self.task.is_regression:
            return text in self.task.labels
        try:
            return 0.0 <= float(text) <= HIGHEST_SCORE
        except ValueError:
            return False


def all_submissions() -> dict[str, Submission]:
    """The server's eleven files by their names (`MNLI-m.tsv` ...)."""
    tests = (
        Submission(task, file)
        for task in load_tasks().values()
        for file in task.files
        if file.server
    )
    return {submission.file_name: submission for submission in tests}


def read_submissions(folder: Path) -> dict[str, str]:
    """File name -> text of the server's files in a folder, checked.

    Raises:
        SubmissionError: a file is not as the server wants it.
        OSError: a file cannot be read.
    """
    texts = {}
    for name, submission in all_submissions().items():
        path = folder / name
        if path.exists():
            texts[name] = path.read_bytes().decode("utf-8", errors="replace")
            submission.check(texts[name])
    return texts


def missing_submissions(present: Iterable[str]) -> list[str]:
    """Names of the server's files that are not among those present."""
    there = set(present)
    return [name for name in all_submissions() if name not in there]


def write_zip(texts: Mapping[str, str], target: Path) -> None:
    """Write the zip; equal texts make equal bytes, on every machine.

    Raises:
        SubmissionError: a file is missing.
        OSError: the zip cannot be written.
    """
    missing = missing_submissions(texts)
    if missing:
        raise SubmissionError(f"the server wants all its files; missing: {', '.join(missing)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not compressed: what a compressor makes depends on its version. All files are about 4 MB.
    with (
        whole_file(target) as unfinished,
        zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name in all_submissions():
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.create_system = 3  # Unix, wherever it is made
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, texts[name].encode("utf-8"))
