"""The table of GLUE tasks and the reader of the official TSV files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tupe_plugin.commands import main
from tupe_plugin.data.glue_tasks import UnknownTaskError, load_task, load_tasks
from tupe_plugin.data.read.check_glue import check_file
from tupe_plugin.data.read.examples import MalformedTableError
from tupe_plugin.data.read.read_glue import list_files, read_table
from tupe_plugin.data.write.write_glue import write_glue, write_glue_split

GLUE = Path(__file__).parents[3] / "shared" / "data" / "glue"

SPLITS = ["train", "valid", "valid1", "test", "test1", "test2"]
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


def test_the_flags_of_training(capsys):
    assert main(["data", "flags", "MNLI"]) == 0
    assert capsys.readouterr().out.split() == [
        *("--num-classes", "3", "--valid-subset", "valid,valid1"),
        *("--best-checkpoint-metric", "accuracy", "--maximize-best-checkpoint-metric"),
    ]
    assert "--regression-target" in load_task("STS-B").training_flags


def test_the_nine_tasks():
    tasks = load_tasks()
    assert set(tasks) == {
        *("CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE", "WNLI"),
    }
    for task in tasks.values():
        splits = [file.split for file in task.files]
        assert splits == sorted(splits, key=SPLITS.index)
        assert {"train", "valid", "test"} <= set(splits)
        assert task.metrics
        for file in task.files:
            assert (file.label is None) == file.is_test == (file.index is not None)
            assert file.is_test == (file.server is not None)
            assert len(file.inputs) == len(task.files[0].inputs)
    assert [file.split for file in tasks["MNLI"].files] == [
        *("train", "valid", "valid1", "test", "test1", "test2"),
    ]


def test_the_diagnostic_set_is_found_where_the_download_scripts_leave_it(tmp_path):
    diagnostic = load_task("MNLI").files[-1]
    assert (diagnostic.split, diagnostic.server, diagnostic.rows) == ("test2", "AX", 1104)
    folder = tmp_path / "MNLI"
    assert diagnostic.find(folder) == folder / "diagnostic.tsv"
    for place in ("diagnostic/diagnostic.tsv", "AX/AX.tsv", "MNLI/AX.tsv", "MNLI/diagnostic.tsv"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
        assert diagnostic.find(folder) == tmp_path / place


def test_a_constant_is_a_label_or_a_score():
    for task in load_tasks().values():
        if task.is_regression:
            assert 0 < float(task.constant) < task.label_scale
        else:
            assert task.constant in task.labels


@pytest.mark.skipif(not GLUE.is_dir(), reason="../shared/data/glue is absent")
@pytest.mark.parametrize("task_name", ["CoLA", "SST-2", "STS-B", "MRPC", "WNLI"])
def test_the_constant_is_the_most_frequent_class_or_the_mean(task_name):
    task = load_task(task_name)
    rows = read_table(GLUE / task_name / "train.tsv", task.files[0], task)
    labels = [row.label for row in rows]
    if task.is_regression:
        mean = task.label_scale * sum(map(float, labels)) / len(labels)
        assert float(task.constant) == pytest.approx(mean, abs=5e-4)
    else:
        assert task.constant == max(task.labels, key=labels.count)


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
        write_glue_split(path, train, task, tmp_path, skip_malformed=False)
    with pytest.raises(MalformedTableError, match=r"table\.tsv:3"):
        write_glue_split(path, valid, task, tmp_path, skip_malformed=True)
    counts = write_glue_split(path, train, task, tmp_path, skip_malformed=True)
    assert (counts.rows, counts.dropped) == (2, 1)
    assert counts.first_dropped.endswith("table.tsv:3: 1 fields instead of 2")
    assert (tmp_path / "train.input0").read_text("utf-8") == "good\nbad\n"
    assert (tmp_path / "train.label").read_text("utf-8") == "1\n0\n"


def split_of(task_name: str, split: str):
    task = load_task(task_name)
    return task, next(file for file in task.files if file.split == split)


def test_test_rows_keep_their_index(tmp_path):
    task, test = split_of("QQP", "test")
    path = tmp_path / "test.tsv"
    path.write_text("id\tquestion1\tquestion2\n7\tA\tB\n3\tC\tD\n", encoding="utf-8")
    write_glue_split(path, test, task, tmp_path, skip_malformed=False)
    assert (tmp_path / "test.index").read_text("utf-8") == "7\n3\n"
    path.write_text("question1\tquestion2\nA\tB\nC\tD\n", encoding="utf-8")
    write_glue_split(path, test, task, tmp_path, skip_malformed=False)
    assert (tmp_path / "test.index").read_text("utf-8") == "0\n1\n"
    path.write_text("id\tquestion1\tquestion2\n7\tA\tB\n7\tC\tD\n", encoding="utf-8")
    with pytest.raises(MalformedTableError, match="two rows have index '7'"):
        write_glue_split(path, test, task, tmp_path, skip_malformed=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "no header"), ("sentence\tlabel\n", "no row of data")],
    ids=["nothing", "header-only"],
)
def test_an_empty_file_is_refused(tmp_path, content, message):
    task, train = split_of("SST-2", "train")
    path = tmp_path / "train.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(MalformedTableError, match=rf"train\.tsv.*{message}"):
        write_glue_split(path, train, task, tmp_path, skip_malformed=True)


def test_a_set_after_a_missing_one_is_refused(tmp_path):
    (tmp_path / "AX").mkdir()
    (tmp_path / "AX" / "AX.tsv").touch()
    with pytest.raises(MalformedTableError, match=r"AX\.tsv is there, but no .*test_mismatched"):
        write_glue(tmp_path, load_task("MNLI"), tmp_path, skip_malformed=False)


def test_another_form_of_the_data_is_named_with_the_way_to_this_one(tmp_path):
    task = load_task("MRPC")
    (tmp_path / "MRPC").mkdir()
    (tmp_path / "MRPC" / "msr_paraphrase_train.txt").touch()
    advice = r"train\.tsv, but msr_paraphrase_train\.txt: .* --path_to_mrpc FOLDER writes them$"
    with pytest.raises(FileNotFoundError, match=advice):
        list_files(tmp_path, task)
    _, (off,) = check_file(tmp_path / "MRPC" / "train.tsv", task.files[0], task)
    assert off.startswith("no such file, but msr_paraphrase_train.txt: ")


def test_a_file_that_is_cut_off_inside_a_text_is_refused(tmp_path):
    table = "sentence\tlabel\ngood\t1\nbad\t0\n"
    folder, output = tmp_path / "SST-2", tmp_path / "rows"
    folder.mkdir()
    output.mkdir()
    for name in ("train", "dev"):
        (folder / f"{name}.tsv").write_text(table, encoding="utf-8")
    write_glue(tmp_path, load_task("SST-2"), output, skip_malformed=False)
    (folder / "test.tsv").write_text("index\tsentence\n0\tfine\n1\tnot fi", encoding="utf-8")
    with pytest.raises(MalformedTableError, match=r"test\.tsv is cut off: .* 2 rows of 1821"):
        write_glue(tmp_path, load_task("SST-2"), output, skip_malformed=False)


def test_check_says_what_is_off(tmp_path):
    def checked(task_name, split, content):
        task, file = split_of(task_name, split)
        path = tmp_path / f"{split}.tsv"
        path.write_text(content, encoding="utf-8")
        return check_file(path, file, task)

    header = "index\tsentence1\tsentence2"
    whole = "".join(f"{n}\tA\tB\n" for n in range(146))
    assert checked("WNLI", "test", f"{header}\n{whole}") == (146, [])
    cut = whole[: whole.rindex("145")]
    assert checked("WNLI", "test", f"{header}\n{cut}") == (
        145,
        ["the official file has 146, 1 are missing: an incomplete download?"],
    )
    rows, off = checked("WNLI", "test", f"{header}\n{whole}".replace("\n5\t", "\n6\t"))
    assert (rows, off) == (146, ["row 5 has index '6', the official one 5"])
    rows, off = checked("WNLI", "test", f"{header}\n{whole}146\tA\tB\n147\tA")
    assert rows == 147
    assert off[0] == "the official file has 146, 1 are too many: another form?"
    assert off[1].startswith("1 malformed, first ")
    assert off[1].endswith("test.tsv:149: 2 fields instead of 3")
    _, off = checked("WNLI", "valid", f"{header}\tlabel\n0\tA\tB\tmaybe\n")
    assert off[1].endswith("valid.tsv:2: label 'maybe' is none of 0, 1")
    _, off = checked("WNLI", "valid", "a\tb\n")
    assert "no column 'sentence1', 'sentence2', 'label' in the header" in off[0]
    task, file = split_of("WNLI", "train")
    assert check_file(tmp_path / "none.tsv", file, task) == (0, ["no such file"])


def test_check_knows_that_the_official_qqp_has_broken_rows(tmp_path):
    task, train = split_of("QQP", "train")
    path = tmp_path / "train.tsv"
    row = "0\t1\t2\tA\tB\t1\n"
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    path.write_text(header + row * 3 + "broken\n", encoding="utf-8")
    rows, off = check_file(path, replace(train, rows=3), task)
    assert (rows, off) == (3, [])


@pytest.mark.skipif(not GLUE.is_dir(), reason="../shared/data/glue is absent")
@pytest.mark.parametrize("task_name", ["CoLA", "SST-2", "STS-B", "MRPC", "WNLI"])
def test_official_files_have_their_official_number_of_rows(task_name):
    task = load_task(task_name)
    for file in task.files:
        rows = list(read_table(GLUE / task_name / file.name, file, task))
        assert not [row for row in rows if isinstance(row, MalformedTableError)]
        assert len(rows) == file.rows
