"""`tupe predict` with models of real training runs: order, scores, GLUE's files, mistakes."""

from __future__ import annotations

import random
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import scipy.stats
import torch

import tupe_plugin  # noqa: F401 -- registers the model
from tests.commands.test_glue_submission import assert_accepted
from tupe_plugin import commands

from .sentence_task import TINY_MODEL, write_sentence_task

pytestmark = pytest.mark.slow

USER_DIR = Path(__file__).parents[2] / "tupe_plugin"
ROWS = {"MRPC": 1725, "STS-B": 1379}  # of the official test sets
DEV_ROWS = 37


class Task(NamedTuple):
    data: Path
    checkpoint: Path


def write_data(folder: Path, name: str) -> Path:
    """A task called as GLUE's, with as many test rows; their lengths differ."""
    draw = random.Random(7)
    splits = {}
    for split, count in (("train", 120), ("valid", DEV_ROWS), ("valid1", ROWS[name])):
        sentences = [draw.choices("abcdefg", k=draw.randint(1, 9)) for _ in range(count)]
        labels = [label_of(words, name) for words in sentences]
        splits[split] = list(zip(map(" ".join, sentences), labels, strict=True))
    made = write_sentence_task(folder / "made", splits, regression=name == "STS-B")
    data = folder / f"{name}-bin"
    made.rename(data)
    for path in (data / "input0").glob("valid1.*"):
        path.rename(path.with_name(path.name.replace("valid1", "test")))
    for path in (data / "label").glob("valid1.*"):
        path.unlink()
    return data


def label_of(words: list[str], name: str) -> str:
    if name == "STS-B":
        return repr(words.count("a") / len(words))
    return "1" if words.count("a") > words.count("b") else "0"


@pytest.fixture(scope="module")
def tasks(tmp_path_factory, run_command) -> dict[str, Task]:
    folder = tmp_path_factory.mktemp("tasks")
    trained = {}
    for name, classes, metric in (("MRPC", 2, "f1"), ("STS-B", 1, "spearman")):
        data = write_data(folder / name, name)
        save_dir = folder / "runs" / name
        run_command(
            *("fairseq-train", data, "--user-dir", USER_DIR, "--task", "sentence_prediction"),
            *("--criterion", "sentence_prediction", "--num-classes", classes, *TINY_MODEL),
            *(["--regression-target"] if classes == 1 else []),
            *("--init-token", 0, "--separator-token", 2, "--batch-size", 8, "--max-epoch", 12),
            *("--optimizer", "adam", "--lr", 3e-3, "--lr-scheduler", "warmup_ratio"),
            *("--best-checkpoint-metric", metric, "--maximize-best-checkpoint-metric"),
            *("--num-workers", 0, "--no-epoch-checkpoints", "--save-dir", save_dir),
        )
        trained[name] = Task(data, save_dir / "checkpoint_best.pt")
    return trained


def predict(*arguments: object) -> int:
    return commands.main(["predict", "--cpu", *map(str, arguments)])


def table(path: Path) -> list[dict[str, str]]:
    header, *lines = (line.split("\t") for line in path.read_text("utf-8").splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


def one_by_one(task: Task, split: str) -> torch.Tensor:
    """The model's outputs `(rows, classes)`, without batches."""
    from fairseq.checkpoint_utils import load_model_ensemble_and_task

    (model,), _, fairseq_task = load_model_ensemble_and_task([str(task.checkpoint)])
    model.eval()
    dataset = fairseq_task.load_dataset(split)
    outputs = []
    for row in range(len(dataset)):
        sample = dataset.collater([dataset[row]])
        with torch.no_grad():
            logits, _ = model(
                **sample["net_input"],
                features_only=True,
                classification_head_name="sentence_classification_head",
            )
        outputs.append(logits[0])
    return torch.stack(outputs)


def best_score(checkpoint: Path) -> float:
    return torch.load(checkpoint, weights_only=False)["extra_state"]["val_loss"]


def test_every_row_has_its_own_prediction_in_order(tasks, tmp_path):
    task = tasks["MRPC"]
    assert predict(task.checkpoint, "-o", tmp_path, "--batch-size", 7) == 0
    probabilities = one_by_one(task, "valid").softmax(dim=-1)
    rows = table(tmp_path / "MRPC" / "valid.tsv")
    assert [row["index"] for row in rows] == [str(number) for number in range(DEV_ROWS)]
    for place in (0, 1):  # fairseq sorted the labels of this data by frequency
        label = (task.data / "label" / "dict.txt").read_text().split()[2 * place]
        ours = [float(row[f"probability_{label}"]) for row in rows]
        assert ours == pytest.approx(probabilities[:, place].tolist(), abs=2e-6)
    sentences = (task.data.parent / "made" / "text" / "valid.input0").read_text().splitlines()
    assert [row["gold"] for row in rows] == [label_of(s.split(), "MRPC") for s in sentences]
    assert len({row["probability_1"] for row in rows}) > 5
    assert (
        '"f1": ' + repr(best_score(task.checkpoint))
        in (tmp_path / "MRPC" / "metrics.json").read_text()
    )


def test_test_rows_go_to_the_server_in_order(tasks, tmp_path):
    task = tasks["MRPC"]
    assert predict(task.checkpoint, "-o", tmp_path, "--splits", "test") == 0
    assert not (tmp_path / "MRPC" / "valid.tsv").exists()
    names = (task.data / "label" / "dict.txt").read_text().split()[::2]
    expected = [names[place] for place in one_by_one(task, "test").argmax(dim=-1)]
    assert set(expected) == {"0", "1"}
    rows = table(tmp_path / "MRPC" / "test.tsv")
    assert [row["prediction"] for row in rows] == expected
    assert "gold" not in rows[0]
    lines = (tmp_path / "submission" / "MRPC.tsv").read_text().split("\n")
    assert lines == [
        "index\tprediction",
        *(f"{number}\t{label}" for number, label in enumerate(expected)),
        "",
    ]


def test_scores_are_in_the_units_of_the_official_files(tasks, tmp_path):
    task = tasks["STS-B"]
    assert predict(task.checkpoint, "-o", tmp_path) == 0
    rows = table(tmp_path / "STS-B" / "valid.tsv")
    values = 5 * one_by_one(task, "valid")[:, 0]
    assert [float(row["prediction"]) for row in rows] == pytest.approx(values.tolist(), abs=1e-5)
    gold = [float(row["gold"]) for row in rows]
    sentences = (task.data.parent / "made" / "text" / "valid.input0").read_text().splitlines()
    shares = [float(label_of(sentence.split(), "STS-B")) for sentence in sentences]
    assert gold == pytest.approx([5 * share for share in shares], abs=1e-5)
    assert scipy.stats.spearmanr(values, gold)[0] == pytest.approx(best_score(task.checkpoint))
    sent = [float(row["prediction"]) for row in table(tmp_path / "submission" / "STS-B.tsv")]
    clipped = (5 * one_by_one(task, "test")[:, 0]).clamp(0, 5)
    assert sent == pytest.approx(clipped.tolist(), abs=6e-4)


def test_a_folder_of_runs_becomes_a_zip_that_the_server_takes(tasks, tmp_path, capsys):
    runs = tasks["MRPC"].checkpoint.parents[1]
    data = tmp_path / "data"
    data.mkdir()
    for task in tasks.values():
        (data / task.data.name).symlink_to(task.data)
    line = (runs, "--data", data, "-o", tmp_path / "out", "--zip", tmp_path / "glue.zip")
    assert predict(*line) == 1
    said = capsys.readouterr().err
    assert "there is no model for CoLA.tsv, SST-2.tsv, QQP.tsv" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()

    assert predict(*line, "--fill-missing") == 0
    said = capsys.readouterr()
    assert "11 files, 9 of them without a model" in said.out
    assert "WARNING: AX.tsv is not a prediction: every row says entailment" in said.err
    assert_accepted(tmp_path / "glue.zip")
    with zipfile.ZipFile(tmp_path / "glue.zip") as archive:
        for name in ("MRPC.tsv", "STS-B.tsv"):
            assert archive.read(name) == (tmp_path / "out" / "submission" / name).read_bytes()
    # Packed again without a model: the same bytes.
    again = ("-o", tmp_path / "out", "--zip", tmp_path / "again.zip", "--fill-missing")
    assert predict(*again) == 0
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "glue.zip").read_bytes()


def test_half_precision_agrees(tasks, tmp_path):
    for options, out in (((), "full"), (("--fp16",), "half")):
        line = (tasks["MRPC"].checkpoint, "-o", tmp_path / out, "--splits", "valid", *options)
        assert predict(*line) == 0
    full, half = (
        [float(row["probability_1"]) for row in table(tmp_path / out / "MRPC" / "valid.tsv")]
        for out in ("full", "half")
    )
    assert half == pytest.approx(full, abs=1e-2)
    assert half != full


@pytest.mark.gpu
def test_the_gpu_agrees(tasks, tmp_path):
    checkpoint = str(tasks["MRPC"].checkpoint)
    assert predict(checkpoint, "-o", tmp_path / "cpu", "--splits", "valid") == 0
    out = str(tmp_path / "gpu")
    assert commands.main(["predict", checkpoint, "-o", out, "--splits", "valid"]) == 0
    cpu, gpu = (
        [float(row["probability_1"]) for row in table(tmp_path / device / "MRPC" / "valid.tsv")]
        for device in ("cpu", "gpu")
    )
    assert gpu == pytest.approx(cpu, abs=2e-3)  # TF32 may be on


def test_a_task_of_ones_own_keeps_its_indices(tasks, tmp_path):
    data = tmp_path / "own-bin"
    shutil.copytree(tasks["MRPC"].data, data)
    (data / "index").mkdir()
    names = [f"row{number}" for number in range(ROWS["MRPC"])]
    (data / "index" / "test.index").write_text("".join(f"{name}\n" for name in names))
    assert predict(tasks["MRPC"].checkpoint, "--data", data, "-o", tmp_path / "out") == 0
    # The checkpoint knows its task's name, so GLUE's file is refused for these names ...
    assert not (tmp_path / "out" / "submission" / "MRPC.tsv").exists()
    # ... and another name makes it a task of one's own.
    line = (f"own={tasks['MRPC'].checkpoint}", "--data", data, "-o", tmp_path / "out")
    assert predict(*line) == 0
    assert [row["index"] for row in table(tmp_path / "out" / "own" / "test.tsv")] == names
    assert not (tmp_path / "out" / "submission").exists() or not list(
        (tmp_path / "out" / "submission").iterdir()
    )


def changed(checkpoint: Path, target: Path, change: Any) -> Path:
    state = torch.load(checkpoint, weights_only=False)
    change(state)
    torch.save(state, target)
    return target


@pytest.fixture
def mistake(tasks, tmp_path, capsys):
    """Run and give the one line that is said; nothing may be written."""

    def run(checkpoint: object, *options: object) -> str:
        capsys.readouterr()
        out = tmp_path / "out"
        assert predict(checkpoint, "-o", out, *options) == 1
        assert not list(out.rglob("*.tsv"))
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("tupe predict: ")
        return line

    return run


def test_unusable_checkpoints_are_named(tasks, pretrained, mistake, tmp_path):
    good = tasks["MRPC"].checkpoint
    (tmp_path / "cut.pt").write_bytes(good.read_bytes()[:-500])
    assert "is no checkpoint, or an incomplete one" in mistake(tmp_path / "cut.pt")
    line = mistake(pretrained.checkpoints / "checkpoint_last.pt")
    assert "is a checkpoint of --task masked_lm: predictions need one" in line

    def without_head(state: dict[str, Any]) -> None:
        for key in [key for key in state["model"] if key.startswith("classification_heads")]:
            del state["model"][key]

    assert "it is not fine-tuned" in mistake(changed(good, tmp_path / "headless.pt", without_head))


def test_data_that_do_not_fit_are_named(tasks, mistake, tmp_path):
    task = tasks["MRPC"]
    data = tmp_path / "MRPC-bin"
    line = mistake(task.checkpoint, "--data", tasks["STS-B"].data)
    assert "was trained on MRPC, and " in line
    assert "STS-B-bin is of STS-B: give the data of MRPC" in line

    shutil.copytree(task.data, data)
    with open(data / "label" / "dict.txt", "a") as labels:
        labels.write("2 1\n")
    line = mistake(f"own={task.checkpoint}", "--data", data)
    assert "has 2 outputs" in line
    assert "is of the labels" in line

    (data / "label" / "dict.txt").write_text("yes 1\nno 1\n")
    line = mistake(task.checkpoint, "--data", data)
    assert "is not MRPC: its labels are yes, no, GLUE's 0, 1" in line

    shutil.copy(task.data / "label" / "dict.txt", data / "label")
    with open(data / "input0" / "dict.txt", "a") as words:
        words.write("more 1\n")
    line = mistake(task.checkpoint, "--data", data)
    assert re.search(rf"does not fit {data}: it has \d+ symbols, the dictionary of the data", line)

    shutil.copy(task.data / "input0" / "dict.txt", data / "input0")
    for damaged, length in (
        ("valid.bin", 40),
        ("valid.idx", 90),
        ("valid.idx", 20),
        ("valid.idx", 0),
    ):
        whole = (data / "input0" / damaged).read_bytes()
        (data / "input0" / damaged).write_bytes(whole[:length])
        line = mistake(task.checkpoint, "--data", data, "--splits", "valid")
        assert "the split valid cannot be read" in line
        (data / "input0" / damaged).write_bytes(whole)


def test_a_missing_test_set_is_named(tasks, mistake, tmp_path):
    data = tmp_path / "MRPC-bin"
    shutil.copytree(tasks["MRPC"].data, data)
    for path in (data / "input0").glob("test.*"):
        path.unlink()
    checkpoint = tasks["MRPC"].checkpoint
    line = mistake(checkpoint, "--data", data, "--splits", "test")
    assert line.endswith("MRPC-bin has no test; it has valid")
    line = mistake(checkpoint, "--data", data, "--splits", "dev")
    assert line.endswith("MRPC-bin has no dev; it has valid; the dev set is called valid")
    line = mistake(checkpoint, "--data", data, "--zip", tmp_path / "glue.zip", "--fill-missing")
    assert "has no test set for MRPC's file" in line
    assert not (tmp_path / "glue.zip").exists()


def test_too_few_test_rows_make_no_file_for_the_server(tasks, mistake, tmp_path, capsys):
    data = tmp_path / "MRPC-bin"
    shutil.copytree(tasks["MRPC"].data, data)
    for suffix in ("bin", "idx"):
        shutil.copy(data / "input0" / f"valid.{suffix}", data / "input0" / f"test.{suffix}")
    checkpoint = tasks["MRPC"].checkpoint
    assert predict(checkpoint, "--data", data, "-o", tmp_path / "some") == 0
    assert "no file for the GLUE server: MRPC.tsv: 37 rows" in capsys.readouterr().out
    assert not list(tmp_path.rglob("submission/*"))
    packing = ("--zip", tmp_path / "glue.zip", "--fill-missing", "--splits", "test")
    line = (checkpoint, "--data", data, "-o", tmp_path / "out", *packing)
    assert predict(*line) == 1
    assert "37 rows, the official test set has 1725" in capsys.readouterr().err
    assert not (tmp_path / "glue.zip").exists()


def test_the_command_line(tasks, run_command, tmp_path):
    finished = run_command(
        "tupe", "predict", tasks["MRPC"].checkpoint, "-o", "out", "--cpu", cwd=tmp_path
    )
    assert finished.stdout.splitlines()[0].startswith("MRPC: ")
    assert "valid       37 rows  accuracy " in finished.stdout
    assert "INFO" not in finished.stdout
    finished = run_command("tupe", "predict", "-o", "out", cwd=tmp_path, check=False)
    assert finished.returncode == 2
    assert finished.stdout == "tupe predict: give a RUN, or --zip to pack DIR/submission\n"
