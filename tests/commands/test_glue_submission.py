"""The GLUE server's format, written down here a second time: names, rows, classes, header."""

from __future__ import annotations

import errno
import functools
import hashlib
import zipfile
from pathlib import Path

import pytest

from tupe_plugin.commands.glue_submission import (
    SubmissionError,
    all_submissions,
    read_submissions,
    write_zip,
)

# What gluebenchmark.com asks for: file -> rows of the official test set, predictions allowed.
SERVER = {
    "CoLA.tsv": (1063, {"0", "1"}),
    "SST-2.tsv": (1821, {"0", "1"}),
    "MRPC.tsv": (1725, {"0", "1"}),
    "STS-B.tsv": (1379, None),
    "QQP.tsv": (390965, {"0", "1"}),
    "MNLI-m.tsv": (9796, {"entailment", "neutral", "contradiction"}),
    "MNLI-mm.tsv": (9847, {"entailment", "neutral", "contradiction"}),
    "QNLI.tsv": (5463, {"entailment", "not_entailment"}),
    "RTE.tsv": (3000, {"entailment", "not_entailment"}),
    "WNLI.tsv": (146, {"0", "1"}),
    "AX.tsv": (1104, {"entailment", "neutral", "contradiction"}),
}


def assert_accepted(archive: Path) -> None:
    """The server's rules, applied to a zip."""
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert sorted(opened.namelist()) == sorted(SERVER)
        for name, (rows, classes) in SERVER.items():
            lines = opened.read(name).decode("ascii").split("\n")
            assert lines[0] == "index\tprediction"
            assert lines.pop() == ""
            table = [line.split("\t") for line in lines[1:]]
            assert [index for index, _ in table] == [str(row) for row in range(rows)]
            predictions = {prediction for _, prediction in table}
            if classes is None:
                assert all(0 <= float(prediction) <= 5 for prediction in predictions)
            else:
                assert predictions <= classes


@functools.cache
def mixed_texts() -> dict[str, str]:
    """Every allowed prediction appears in each file."""
    texts = {}
    for name, (rows, classes) in SERVER.items():
        values = sorted(classes) if classes else [-0.3, 2.5, 5.2]
        texts[name] = all_submissions()[name].text([values[n % len(values)] for n in range(rows)])
    return texts


@functools.cache
def constant_texts() -> dict[str, str]:
    return {name: entry.constant_text() for name, entry in all_submissions().items()}


def test_the_zip_is_what_the_server_asks_for(tmp_path: Path) -> None:
    texts = mixed_texts()
    write_zip(texts, tmp_path / "glue.zip")
    assert_accepted(tmp_path / "glue.zip")
    with zipfile.ZipFile(tmp_path / "glue.zip") as archive:
        similarity = archive.read("STS-B.tsv").decode().split("\n")[1:4]
    assert similarity == ["0\t0.000", "1\t2.500", "2\t5.000"]


@pytest.mark.slow
def test_files_that_say_the_same_of_every_row_are_accepted(tmp_path: Path) -> None:
    write_zip(constant_texts(), tmp_path / "glue.zip")
    assert_accepted(tmp_path / "glue.zip")


def test_equal_predictions_make_equal_bytes(tmp_path: Path) -> None:
    texts = mixed_texts()
    digests = set()
    for name, order in (("a.zip", texts), ("b.zip", dict(reversed(texts.items())))):
        write_zip(order, tmp_path / name)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_missing_file_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    texts = dict(mixed_texts())
    del texts["AX.tsv"], texts["RTE.tsv"]
    with pytest.raises(SubmissionError, match=r"missing: AX\.tsv, RTE\.tsv"):
        write_zip(texts, tmp_path / "glue.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "glue.zip"
    target.write_bytes(b"old")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match=r"No space left on device: .*glue\.zip'"):
        write_zip(constant_texts(), target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("prediction", "label", 1), r"the first line is not"),
        (lambda text: text[:-1], r"the last line has no end"),
        (lambda text: text[: text.rindex("145")], r"145 rows, the official test set has 146"),
        (lambda text: text + "146\t0\n", r"147 rows"),
        (lambda text: text.replace("\n7\t", "\n8\t"), r"WNLI\.tsv:9: index '8' where 7 should be"),
        (lambda text: text.replace("\n7\t0", "\n7\tno"), r"WNLI\.tsv:9: 'no' is no prediction"),
        (lambda text: "", r"the first line is not"),
    ],
)
def test_a_file_that_the_server_would_refuse_is_named(tmp_path: Path, change, message) -> None:
    text = all_submissions()["WNLI.tsv"].constant_text()
    (tmp_path / "WNLI.tsv").write_text(text)
    assert read_submissions(tmp_path) == {"WNLI.tsv": text}
    (tmp_path / "WNLI.tsv").write_text(change(text))
    with pytest.raises(SubmissionError, match=message):
        read_submissions(tmp_path)


def test_a_score_outside_of_the_scale_in_a_file_is_refused(tmp_path: Path) -> None:
    text = all_submissions()["STS-B.tsv"].constant_text()
    for wrong in ("5.001", "-0.1", "nan", "high"):
        (tmp_path / "STS-B.tsv").write_text(text.replace("\n3\t2.701", f"\n3\t{wrong}"))
        with pytest.raises(SubmissionError, match=rf"STS-B\.tsv:5: '{wrong}' is no prediction"):
            read_submissions(tmp_path)


def test_a_class_of_another_task_is_refused() -> None:
    with pytest.raises(SubmissionError, match=r"RTE\.tsv: '1' is none of entailment"):
        all_submissions()["RTE.tsv"].text(["1"] * 3000)


def test_mnli_makes_three_files_with_the_diagnostic_set() -> None:
    splits = {
        (entry.task.name, entry.file.split): name for name, entry in all_submissions().items()
    }
    of_mnli = {split: name for (task, split), name in splits.items() if task == "MNLI"}
    assert of_mnli == {"test": "MNLI-m.tsv", "test1": "MNLI-mm.tsv", "test2": "AX.tsv"}
    assert len(splits) == len(SERVER)


def test_rows_in_another_order_are_refused() -> None:
    order = [str(row) for row in reversed(range(146))]
    with pytest.raises(SubmissionError, match=r"WNLI\.tsv:2: index '145' where 0 should be"):
        all_submissions()["WNLI.tsv"].text(["0"] * 146, order)
