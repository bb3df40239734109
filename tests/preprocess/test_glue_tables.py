"""The table of GLUE tasks and the reader of the official TSV files."""

from __future__ import annotations

from pathlib import Path

import pytest

from preprocess.filters.glue_tasks import UnknownTaskError, load_task, load_tasks
from preprocess.filters.read_glue import MalformedTableError, extract_split, read_table

GLUE = Path(__file__).parents[3] / "shared" / "data" / "glue"

HEADERS = {
    "MNLI": {
        "train": "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse "
        "sentence1_parse sentence2_parse sentence1 sentence2 label1 gold_label",
        "valid": "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse "
        "sentence1_parse sentence2_parse sentence1 sentence2 label1 label2 label3 label4 label5 "
        "gold_label",
        "test": "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse "
        "sentence1_parse sentence2_parse sentence1 sentence2",
    },
    "QQP": {
        "train": "id qid1 qid2 question1 question2 is_duplicate",
        "valid": "id qid1 qid2 question1 question2 is_duplicate",
        "test": "id question1 question2",
    },
    "QNLI": {
        "train": "index question sentence label",
        "valid": "index question sentence label",
        "test": "index question sentence",
    },
    "RTE": {
        "train": "index sentence1 sentence2 label",
        "valid": "index sentence1 sentence2 label",
        "test": "index sentence1 sentence2",
    },
}


def test_the_nine_tasks():
    tasks = load_tasks()
    assert set(tasks) == {
        *("CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE", "WNLI"),
    }
    for task in tasks.values():
        splits = [file.split for file in task.files]
        assert splits == sorted(splits, key=["train", "valid", "valid1", "test", "test1"].index)
        assert {"train", "valid", "test"} <= set(splits)
        assert task.num_classes == (len(task.labels) or 1)
        assert task.metrics
        for file in task.files:
            assert (file.label is None) == file.split.startswith("test")
            assert len(file.inputs) == len(task.files[0].inputs)
    assert [file.split for file in tasks["MNLI"].files] == [
        *("train", "valid", "valid1", "test", "test1"),
    ]


def test_an_unknown_task_is_named_with_those_that_exist():
    with pytest.raises(UnknownTaskError, match="no GLUE task 'cola'; the tasks are CoLA, SST-2"):
        load_task("cola")


def rows_of(tmp_path, task_name: str, split: str, content: str | bytes):
    task = load_task(task_name)
    file = next(file for file in task.files if file.split == split)
    path = tmp_path / file.name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return list(read_table(path, file, task))


@pytest.mark.parametrize("task_name", HEADERS)
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_official_headers(tmp_path, task_name, split):
    names = HEADERS[task_name][split].split()
    task = load_task(task_name)
    label = task.labels[-1]
    wanted = {"sentence1": "first", "question1": "first", "sentence2": "second"}
    wanted |= {"question2": "second", "gold_label": label, "is_duplicate": label, "label": label}
    if task_name == "QNLI":
        wanted |= {"question": "first", "sentence": "second"}
    row = [wanted.get(name, f"other {name}") for name in names]
    (parsed,) = rows_of(tmp_path, task_name, split, "\t".join(names) + "\n" + "\t".join(row) + "\n")
    assert parsed.inputs == ("first", "second")
    assert parsed.label == (None if split == "test" else label)


@pytest.mark.parametrize(
    "content",
    [
        b'sentence\tlabel\na "quote \t1\n',
        b'\xef\xbb\xbfsentence\tlabel\na "quote \t1\n',
        b'sentence\tlabel\r\na "quote \t1\r\n',
        b'sentence\tlabel\na "quote \t1',
        b'sentence\tlabel\n\na "quote \t1\n\n',
        b'label\tsentence\n1\ta "quote \n',
    ],
    ids=["plain", "mark", "crlf", "no-newline", "empty-lines", "other-order"],
)
def test_forms_of_one_table(tmp_path, content):
    (row,) = rows_of(tmp_path, "SST-2", "train", content)
    assert (row.inputs, row.label) == (('a "quote ',), "1")


def test_unbalanced_quotes_do_not_join_rows(tmp_path):
    content = 'gj04\t1\t\t"One\ngj04\t0\t*\tTwo" "\ngj04\t1\t\tThree\n'
    rows = rows_of(tmp_path, "CoLA", "train", content)
    assert [row.inputs[0] for row in rows] == ['"One', 'Two" "', "Three"]
    assert [row.label for row in rows] == ["1", "0", "1"]


def test_similarity_scores_become_fifths(tmp_path):
    header = (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
    )
    row = "0\tg\tf\ty\t1\tnone\tnone\tA\tB\t3.800"
    (parsed,) = rows_of(tmp_path, "STS-B", "train", f"{header}\n{row}\n")
    assert parsed.label == "0.76"


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        ("SST-2", "sentence\tlabel\ngood\t1\nbad\n", r"train\.tsv:3: 1 fields instead of 2"),
        ("SST-2", "sentence\tlabel\na\tb\t1\n", r"train\.tsv:2: 3 fields instead of 2"),
        ("SST-2", "sentence\tlabel\ngood\tyes\n", r"train\.tsv:2: label 'yes' is none of 0, 1"),
        ("CoLA", "gj04\t1\n", r"train\.tsv:1: 2 fields instead of 4"),
        ("RTE", "index\tsentence1\tsentence2\tlabel\n0\tA\tB\t1\n", r"train\.tsv:2: label '1'"),
        (
            "STS-B",
            "sentence1\tsentence2\tscore\nA\tB\thigh\n",
            r"train\.tsv:2: label 'high' is not a number",
        ),
        (
            "STS-B",
            "sentence1\tsentence2\tscore\nA\tB\tnan\n",
            r"train\.tsv:2: label 'nan' is not a finite number",
        ),
    ],
)
def test_a_malformed_row_is_named(tmp_path, task, content, message):
    malformed = rows_of(tmp_path, task, "train", content)[-1]
    assert isinstance(malformed, MalformedTableError)
    with pytest.raises(MalformedTableError, match=message):
        raise malformed


def test_a_missing_column_is_named_with_those_found(tmp_path):
    with pytest.raises(
        MalformedTableError, match=r"train\.tsv:1: no column 'label' .*found 'sentence', 'lable'"
    ):
        rows_of(tmp_path, "SST-2", "train", "sentence\tlable\ngood\t1\n")


def test_only_training_rows_can_be_skipped(tmp_path):
    task = load_task("SST-2")
    train, valid, _ = task.files
    path = tmp_path / "table.tsv"
    path.write_text("sentence\tlabel\ngood\t1\nbroken\nbad\t0\n", encoding="utf-8")
    with pytest.raises(MalformedTableError, match=r"table\.tsv:3"):
        extract_split(path, train, task, tmp_path, skip_malformed=False)
    with pytest.raises(MalformedTableError, match=r"table\.tsv:3"):
        extract_split(path, valid, task, tmp_path, skip_malformed=True)
    counts = extract_split(path, train, task, tmp_path, skip_malformed=True)
    assert (counts.rows, counts.dropped) == (2, 1)
    assert counts.first_dropped.endswith("table.tsv:3: 1 fields instead of 2")
    assert (tmp_path / "train.input0").read_text("utf-8") == "good\nbad\n"
    assert (tmp_path / "train.label").read_text("utf-8") == "1\n0\n"


@pytest.mark.skipif(not GLUE.is_dir(), reason="../shared/data/glue is absent")
@pytest.mark.parametrize("task_name", ["CoLA", "SST-2", "STS-B", "MRPC", "WNLI"])
def test_official_files_have_their_official_number_of_rows(task_name):
    task = load_task(task_name)
    for file in task.files:
        rows = list(read_table(GLUE / task_name / file.name, file, task))
        assert not [row for row in rows if isinstance(row, MalformedTableError)]
        assert len(rows) == file.rows
