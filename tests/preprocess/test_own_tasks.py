"""Tasks of one's own: TSV, JSON lines, SQuAD v2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tupe_plugin.data.read.examples import MalformedTableError
from tupe_plugin.data.read.read_examples import Columns, sort_labels
from tupe_plugin.data.write.write_own_task import write_own_task

PAIR = Columns(("question", "passage"), "class", "key")


def extract(folder: Path, format_name: str, columns: Columns, **options: bool) -> dict[str, str]:
    """What is written: file name -> content."""
    output = folder / "rows"
    output.mkdir()
    settings = {"regression": False, "skip_malformed": False} | options
    write_own_task(folder, format_name, columns, output, **settings)
    return {path.name: path.read_text("utf-8") for path in output.iterdir()}


def write(folder: Path, **contents: str | bytes) -> None:
    for name, content in contents.items():
        raw = content.encode() if isinstance(content, str) else content
        (folder / name.replace("_", ".")).write_bytes(raw)


def test_a_pair_of_columns_in_any_order(tmp_path):
    write(
        tmp_path,
        train_tsv="class\tother\tpassage\tquestion\nno\tx\tP1\tQ1\nyes\tx\tP2\tQ2\n",
        dev_tsv="question\tpassage\tclass\nQ3\tP3\tyes\n",
        test_tsv="key\tquestion\tpassage\nk4\tQ4\tP4\n",
    )
    assert extract(tmp_path, "tsv", PAIR) == {
        "train.input0": "Q1\nQ2\n",
        "train.input1": "P1\nP2\n",
        "train.label": "no\nyes\n",
        "valid.input0": "Q3\n",
        "valid.input1": "P3\n",
        "valid.label": "yes\n",
        "valid.index": "0\n",
        "test.input0": "Q4\n",
        "test.input1": "P4\n",
        "test.index": "k4\n",
        "label.dict.txt": "no 1\nyes 1\n",
    }


def test_chinese_json_lines(tmp_path):
    def lines(*objects):
        return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in objects)

    write(
        tmp_path,
        train_json=lines(
            {"label": "11", "label_des": "薅羊毛", "sentence": "打开\n应用"},
            {"label": "2", "label_des": "免费", "sentence": "地图"},
        ),
        dev_json=lines({"label": 2, "label_des": "免费", "sentence": "导航"}),
        test_json=lines({"id": 0, "sentence": "音乐"}, {"id": 1, "sentence": "视频"}),
    )
    written = extract(tmp_path, "jsonl", Columns(("sentence",), "label", "id"))
    assert written["train.input0"] == "打开 应用\n地图\n"
    assert written["label.dict.txt"] == "2 1\n11 1\n"
    assert written["valid.label"] == "2\n"
    assert written["test.index"] == "0\n1\n"
    assert "train.input1" not in written


def test_squad_becomes_a_question_of_answerability(tmp_path):
    def squad(*questions):
        paragraph = {"context": "A context.\nIt goes on.", "qas": list(questions)}
        return json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": [paragraph]}]})

    first = {"id": 1, "question": "Who?", "is_impossible": False, "answers": []}
    second = {"id": "a2", "question": "Why?", "is_impossible": True, "answers": []}
    for name in ("train", "dev"):
        (tmp_path / f"{name}-v2.0.json").write_text(squad(first, second), encoding="utf-8")
    written = extract(tmp_path, "squad2", Columns(("", ""), ""))
    assert written["valid.input0"] == "Who?\nWhy?\n"
    assert written["valid.input1"] == "A context. It goes on.\n" * 2
    assert written["valid.label"] == "answerable\nunanswerable\n"
    assert written["valid.index"] == "1\na2\n"
    assert written["label.dict.txt"] == "answerable 1\nunanswerable 1\n"


def test_numbers_as_labels_of_a_regression(tmp_path):
    write(tmp_path, train_tsv="text\tlabel\nA\t-1.5\n", dev_tsv="text\tlabel\nB\t2\n")
    written = extract(tmp_path, "tsv", Columns(("text",), "label"), regression=True)
    assert (written["train.label"], written["valid.label"]) == ("-1.5\n", "2.0\n")
    assert "label.dict.txt" not in written


def test_a_label_of_several_words_stays_one_symbol(tmp_path):
    table = "text\tlabel\nA\tnot sure\nB\tsure\n"
    write(tmp_path, train_tsv=table, dev_tsv=table)
    written = extract(tmp_path, "tsv", Columns(("text",), "label"))
    assert written["label.dict.txt"] == "not_sure 1\nsure 1\n"
    assert written["valid.label"] == "not_sure\nsure\n"


def test_labels_that_are_numbers_are_sorted_by_size():
    assert sort_labels({"10", "9", "-1"}) == ["-1", "9", "10"]
    assert sort_labels({"10", "9", "x"}) == ["10", "9", "x"]


GOOD = "text\tlabel\nA\tx\nB\ty\n"


@pytest.mark.parametrize(
    ("train", "dev", "message"),
    [
        (GOOD, "text\tlabel\nA\tx\nB\tz\n", r"dev\.tsv:3: label 'z' is not in the .* x, y$"),
        (GOOD, "text\tlabel\n", r"dev\.tsv: no row of data"),
        (GOOD, "text\tlabel\nA\n", r"dev\.tsv:2: 1 fields instead of 2"),
        (GOOD, "text\tclass\nA\tx\n", r"dev\.tsv:1: no column 'label' .*found 'text', 'class'"),
        ("text\tlabel\nA\tx\nB\t\n", GOOD, r"train\.tsv:3: the label is empty"),
        ("text\tlabel\nA\t<unk>\n", GOOD, r"train\.tsv:2: label '<unk>' means something else"),
        ("text\tlabel\nA\ta b\nB\ta_b\n", GOOD, r"train\.tsv:3: .* would both become 'a_b'"),
        ("text\tlabel\nA\tx\n", "text\tlabel\nB\tx\n", "all training rows have the label x$"),
        ("", GOOD, r"train\.tsv:1: no header"),
        ("text\tlabel\ttext\nA\tx\tB\n", GOOD, r"tsv:1: the column 'text' is there twice"),
        (GOOD.encode() + b"caf\xe9\tx\n", GOOD, r"train\.tsv:4: 1 bytes are not UTF-8"),
        (GOOD, GOOD.encode() + b"A\t\xff\xfe\n", r"dev\.tsv:4: 2 bytes are not UTF-8"),
        (b"te\xe9xt\tlabel\nA\tx\n", GOOD, r"train\.tsv:1: 1 bytes are not UTF-8"),
    ],
)
def test_bad_tables_are_named_with_their_place(tmp_path, train, dev, message):
    write(tmp_path, train_tsv=train, dev_tsv=dev)
    with pytest.raises(MalformedTableError, match=message):
        extract(tmp_path, "tsv", Columns(("text",), "label"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "A", "label": "x"', r"train\.json:2: not JSON .*download complete"),
        ('["A", "x"]', r"train\.json:2: not a JSON object"),
        ('{"text": "A"}', r"train\.json:2: no column 'label'; found 'text'"),
        ('{"text": null, "label": "x"}', r"train\.json:2: 'text' is None, not a text"),
        ('{"text": "A", "label": NaN}', r"train\.json:2: NaN is no number of JSON"),
        ('{"text": "A", "text": "B", "label": "x"}', r"json:2: the key 'text' is there twice"),
        (r'{"text": "\ud800", "label": "x"}', r"json:2: the text has '.ud800', which is half"),
        (r'{"text": "A", "label": "\udc00"}', r"json:2: the text has '.udc00', which is half"),
        ("[" * 200_000, r"train\.json:2: brackets within brackets"),
    ],
)
def test_bad_json_lines_are_named_with_their_place(tmp_path, line, message):
    good = '{"text": "A", "label": "x"}\n'
    write(tmp_path, train_json=good + line + "\n", dev_json=good)
    with pytest.raises(MalformedTableError, match=message):
        extract(tmp_path, "jsonl", Columns(("text",), "label"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"data": [{"paragraphs": [', r"train-v2\.0\.json:1: not JSON .*download complete"),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', "not of the form of SQuAD v2 .*context"),
        ('{"data": [{"paragraphs": [{"context": null, "qas": []}]}]}', "'context' is None, not a"),
        (r'{"data": [{"paragraphs": [{"context": "\ud800", "qas": []}]}]}', "half of a character"),
        ("[" * 200_000, "brackets within brackets"),
        ('{"data": 7}', "not of the form of SQuAD v2"),
    ],
)
def test_a_broken_squad_file_is_named(tmp_path, content, message):
    for name in ("train", "dev"):
        (tmp_path / f"{name}-v2.0.json").write_text(content, encoding="utf-8")
    with pytest.raises(MalformedTableError, match=message):
        extract(tmp_path, "squad2", Columns(("", ""), ""))


def test_a_missing_dev_file_is_named(tmp_path):
    write(tmp_path, train_tsv=GOOD)
    with pytest.raises(MalformedTableError, match=r"no dev\.tsv or valid\.tsv or validation\.tsv"):
        extract(tmp_path, "tsv", Columns(("text",), "label"))


@pytest.mark.parametrize(
    ("form", "test", "message"),
    [
        ("tsv", "text\nA\n", r"test\.tsv:1: no column 'id' in the header"),
        ("jsonl", '{"text": "A"}\n', r"test\.json:1: no column 'id'; found 'text'"),
    ],
)
def test_an_index_that_test_rows_lack_is_named(tmp_path, form, test, message):
    rows = [{"text": "A", "label": "x"}, {"text": "B", "label": "y"}]
    good, end = GOOD, form
    if form == "jsonl":
        good, end = "".join(json.dumps(row) + "\n" for row in rows), "json"
    write(tmp_path, **{f"train_{end}": good, f"dev_{end}": good, f"test_{end}": test})
    with pytest.raises(MalformedTableError, match=message):
        extract(tmp_path, form, Columns(("text",), "label", "id"))


def test_an_index_that_some_dev_rows_lack_is_no_copy_of_another(tmp_path):
    good = '{"text": "A", "label": "x"}\n{"text": "B", "label": "y"}\n'
    dev = '{"text": "A", "label": "x", "id": "1"}\n{"text": "B", "label": "y"}\n'
    write(tmp_path, train_json=good, dev_json=dev)
    with pytest.raises(MalformedTableError, match=r"dev\.json: row 2 has no index, unlike those"):
        extract(tmp_path, "jsonl", Columns(("text",), "label", "id"))
