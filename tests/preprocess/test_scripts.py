"""pretrain.sh and glue.sh as a person calls them: results, reruns, interruptions, mistakes."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tupe_plugin.commands import main as tupe
from tupe_plugin.data.corpus_options import CorpusOptions
from tupe_plugin.data.glue_tasks import load_task
from tupe_plugin.data.label_scale import label_scale
from tupe_plugin.data.read.examples import Example
from tupe_plugin.data.read.read_glue import read_table
from tupe_plugin.data.task_options import TaskOptions
from tupe_plugin.data.treatment import read_treatment

ROOT = Path(__file__).parents[2]
MERGES = 100


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}


def run(script: str, *arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "preprocess" / script), *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=900,
    )


def succeed(script: str, *arguments: object, cwd: Path = ROOT) -> str:
    result = run(script, *arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stderr


def made_up_text(num_documents: int) -> str:
    rng = random.Random(5)
    words = ["".join(rng.choices(["ba", "ko", "ti", "lu", "me"], k=3)) for _ in range(200)]
    lines = []
    for _ in range(num_documents):
        for _ in range(5):
            lines.append(" ".join(rng.choices(words, k=12)).capitalize() + ", “so” it’s.")
        lines.append("")
    return "\n".join(lines)


def digests(folder: Path) -> dict[str, str]:
    """What fairseq reads; not the log and the stamp, which name the folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".bin", ".idx", ".codes", ".label", ".json", ".txt"}
        and path.name != "stamp.txt"
    }


def decoded(prefix: Path, dictionary: Path) -> list[str]:
    """The lines in a data set, words whole again."""
    from fairseq.data import Dictionary, data_utils

    words = Dictionary.load(str(dictionary))
    return [
        words.string(ids, bpe_symbol="@@ ").strip()
        for ids in data_utils.load_indexed_dataset(str(prefix), words)
    ]


@pytest.fixture(scope="module")
def text_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text file.txt"
    path.write_text(made_up_text(400), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def pretrained(text_file) -> Path:
    """The folder that an uninterrupted pretrain.sh made."""
    out = text_file.parent / "whole run"
    succeed("pretrain.sh", text_file, out, "--bpe-merges", MERGES, "--valid-ratio", "0.1")
    return out


@pytest.mark.slow
def test_pretrain_makes_data_that_says_what_the_text_says(pretrained, text_file):
    data = pretrained / "data-bin"
    train = decoded(data / "train", data / "dict.txt")
    valid = decoded(data / "valid", data / "dict.txt")
    expected = [
        line.lower().replace(", “so” it’s.", ' , " so " it \'s .')
        for line in text_file.read_text("utf-8").split("\n")
        if line
    ]
    assert sorted(line for line in train + valid if line) == sorted(expected)
    assert 100 < len([line for line in valid if line]) < 320  # 200 expected
    # Documents of five lines, separated by an empty one.
    assert [index for index, line in enumerate(train) if not line][:3] == [5, 11, 17]
    merges = (data / "bpe.codes").read_text("utf-8").splitlines()
    assert len(merges) == MERGES + 1


@pytest.mark.slow
def test_a_rerun_does_nothing_and_a_changed_option_redoes_what_depends_on_it(
    pretrained, text_file, tmp_path
):
    before = {path: path.stat().st_mtime_ns for path in pretrained.rglob("*") if path.is_file()}
    said = succeed(
        "pretrain.sh", text_file, pretrained, "--bpe-merges", MERGES, "--valid-ratio", "0.1"
    )
    assert said.count("done before") == 7
    assert {path: path.stat().st_mtime_ns for path in before} == before

    copy = tmp_path / "out"
    arguments = [text_file, copy, "--valid-ratio", "0.1", "--bpe-merges"]
    succeed("pretrain.sh", *arguments, MERGES, "--workers", 1)
    assert digests(copy / "data-bin") == digests(pretrained / "data-bin")
    said = succeed("pretrain.sh", *arguments, 20)
    assert said.count("done before") == 3  # clean, text and split
    assert len((copy / "data-bin" / "bpe.codes").read_text("utf-8").splitlines()) == 21


def pretrain_command(text: Path, out: Path) -> list[str]:
    script = str(ROOT / "preprocess" / "pretrain.sh")
    return [script, str(text), str(out), "--bpe-merges", str(MERGES), "--workers", "2"]


@pytest.fixture(scope="module")
def longer_text(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("longer") / "text"
    path.write_text(made_up_text(3500), encoding="utf-8")  # enough that workers are started
    return path


@pytest.fixture(scope="module")
def uninterrupted(longer_text) -> dict[str, str]:
    out = longer_text.parent / "out"
    subprocess.run(pretrain_command(longer_text, out), env=environment(), check=True)
    return digests(out / "data-bin")


def processes_of(group: int) -> list[str]:
    listing = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True)
    fields = [line.split(maxsplit=2) for line in listing.stdout.splitlines()]
    return [args for pgid, stat, args in fields if int(pgid) == group and stat[0] != "Z"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "whom"),
    [
        (signal.SIGINT, "group"),
        (signal.SIGTERM, "program"),
        (signal.SIGKILL, "program"),
        (signal.SIGKILL, "group"),
        (signal.SIGKILL, "worker"),
    ],
    ids=["ctrl-c", "stop", "kill", "kill-all", "kill-a-worker"],
)
def test_interrupted_and_run_again_gives_the_same_bytes(
    longer_text, uninterrupted, tmp_path, number, whom
):
    command = pretrain_command(longer_text, tmp_path / "out")
    process = subprocess.Popen(
        command,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell without a terminal may start its jobs with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    half_done = tmp_path / "out" / "work" / "clean.part" / "text"
    until = time.monotonic() + 60
    while not (half_done.exists() and half_done.stat().st_size > 0):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.01)
    if whom == "group":
        os.killpg(process.pid, number)
    elif whom == "program":
        os.kill(process.pid, number)
    else:
        workers = subprocess.run(
            ["pgrep", "-g", str(process.pid), "-f", "multiprocessing.spawn"],
            capture_output=True,
            text=True,
        )
        os.kill(int(workers.stdout.split()[0]), number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    if whom == "worker" or number != signal.SIGKILL:
        how = {"worker": "killed; out of memory?", "program": "stopped;", "group": "interrupted;"}
        assert f"{how[whom]} run the same command again to go on" in said
        assert "Traceback" not in said
    assert not (tmp_path / "out" / "work" / "clean").exists()
    until = time.monotonic() + 20
    while left := processes_of(process.pid):
        assert time.monotonic() < until, left
        time.sleep(0.05)

    subprocess.run(command, env=environment(), check=True)
    assert digests(tmp_path / "out" / "data-bin") == uninterrupted


@pytest.mark.slow
def test_valid_text_dictionary_and_codes_can_be_given(pretrained, tmp_path):
    text, valid = tmp_path / "text.txt", tmp_path / "valid.txt"
    text.write_text("Batiko lume <url>.\n", encoding="utf-8")
    valid.write_text("Lume!\n", encoding="utf-8")
    authors_dict = tmp_path / "dict.txt"
    with open(pretrained / "data-bin" / "dict.txt", encoding="utf-8") as units:
        authors_dict.write_text("".join(list(units)[:50]), encoding="utf-8")
    codes = pretrained / "data-bin" / "bpe.codes"
    succeed(
        "pretrain.sh",
        *("text.txt", "out", "--valid", "valid.txt", "--bpe-codes", codes),
        *("--authors-dict", "dict.txt", "--min-letters", 0, "--min-letter-share", 0),
        cwd=tmp_path,
    )
    from fairseq.data import Dictionary, data_utils

    data = tmp_path / "out" / "data-bin"
    words = Dictionary.load(str(data / "dict.txt"))
    assert [words.index(word) for word in ("<file>", "<email>", "<url>")] == [4, 5, 6]
    assert len(words) == 4 + 3 + 50
    (ids,) = data_utils.load_indexed_dataset(str(data / "train"), words)
    assert 6 in ids
    assert (data / "bpe.codes").read_bytes() == codes.read_bytes()
    assert len(decoded(data / "valid", data / "dict.txt")) == 1


def write_table(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(row + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def glue_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("glue data")
    for name in ("train", "dev"):
        write_table(
            folder / "CoLA" / f"{name}.tsv", 'x\t1\t\t"Batiko lume.', "x\t0\t*\tLume batiko it’s."
        )
        write_table(
            folder / "STS-B" / f"{name}.tsv",
            "index\tsentence1\tsentence2\tscore",
            "0\tLume\tTime\t5.000",
            "1\tLume\tBatiko\t0.250",
        )
    write_table(folder / "CoLA" / "test.tsv", "index\tsentence", "0\tLume.")
    header = "index\tsentence1\tsentence2"
    for name, label in (
        ("train", "neutral"),
        ("dev_matched", "entailment"),
        ("dev_mismatched", "contradiction"),
    ):
        write_table(
            folder / "MNLI" / f"{name}.tsv", f"{header}\tgold_label", f"0\tLume.\tTime.\t{label}"
        )
    for name, text in (("test_matched", "Batiko"), ("test_mismatched", "Time")):
        write_table(folder / "MNLI" / f"{name}.tsv", header, f"0\t{text}\tTime.")
    write_table(folder / "diagnostic" / "diagnostic.tsv", header, "4\tLume\tTime.")
    columns = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    write_table(folder / "QQP" / "dev.tsv", columns, "0\t1\t2\tLume?\tTime?\t1")
    write_table(
        folder / "QQP" / "train.tsv",
        columns,
        "0\t1\t2\tLume?\tTime?\t1",
        "broken?\t0",
        '1\t3\t4\t"\tB\t0',
    )
    return folder


@pytest.fixture(scope="module")
def glue_bins(pretrained, glue_dir) -> tuple[Path, str]:
    out = glue_dir.parent / "glue out"
    said = succeed("glue.sh", "--data-bin", pretrained / "data-bin", glue_dir, "ALL", out)
    return out, said


def labels_of(data: Path, split: str) -> list[str]:
    return decoded(data / "label" / split, data / "label" / "dict.txt")


@pytest.mark.slow
def test_glue_single_sentences(glue_bins):
    data = glue_bins[0] / "CoLA-bin"
    texts = decoded(data / "input0" / "train", data / "input0" / "dict.txt")
    assert texts == ['" batiko lume .', "lume batiko it 's ."]
    assert labels_of(data, "train") == labels_of(data, "valid") == ["1", "0"]
    assert (data / "label" / "dict.txt").read_text("utf-8") == "0 1\n1 1\n"
    assert decoded(data / "input0" / "test", data / "input0" / "dict.txt") == ["lume ."]
    assert not (data / "input1").exists()
    assert not (data / "label" / "test.bin").exists()


@pytest.mark.slow
def test_glue_regression(glue_bins):
    data = glue_bins[0] / "STS-B-bin"
    assert (data / "label" / "train.label").read_text("utf-8") == "1.0\n0.05\n"
    assert (data / "label" / "valid.label").is_file()
    assert label_scale("of another name", data) == 5
    assert decoded(data / "input1" / "valid", data / "input1" / "dict.txt") == ["time", "batiko"]


@pytest.mark.slow
def test_glue_two_dev_sets(glue_bins):
    data = glue_bins[0] / "MNLI-bin"
    assert labels_of(data, "valid") == ["entailment"]
    assert labels_of(data, "valid1") == ["contradiction"]
    for split, text, index in (("test", "batiko", 0), ("test1", "time", 0), ("test2", "lume", 4)):
        assert decoded(data / "input0" / split, data / "input0" / "dict.txt") == [text]
        assert (data / "index" / f"{split}.index").read_text("utf-8") == f"{index}\n"
    names = (data / "label" / "dict.txt").read_text("utf-8").split()[::2]
    assert names == ["contradiction", "entailment", "neutral"]


@pytest.mark.slow
def test_a_task_of_ones_own(pretrained, glue_dir):
    for name in ("train", "dev"):
        write_table(
            glue_dir / "own" / f"{name}.tsv", "kind\tb\ta", "no idea\tTime\tLume", "sure\tTiko\tBa"
        )
    write_table(glue_dir / "own" / "test.tsv", "key\tb\ta", "k9\tTime\tBatiko")
    out = glue_dir.parent / "own out"
    own = ("--format", "tsv", "--text-columns", "a,b", "--label-column", "kind")
    said = succeed(
        *("glue.sh", *own, "--index-column", "key", "--data-bin", pretrained / "data-bin"),
        *(glue_dir, "own", out),
    )
    assert "own: --num-classes 2" in said
    data = out / "own-bin"
    assert decoded(data / "input0" / "train", data / "input0" / "dict.txt") == ["lume", "ba"]
    assert decoded(data / "input1" / "test", data / "input1" / "dict.txt") == ["time"]
    assert labels_of(data, "valid") == ["no_idea", "sure"]
    assert (data / "index" / "test.index").read_text("utf-8") == "k9\n"


@pytest.mark.slow
def test_chinese_tasks_in_wordpiece_units(tmp_path):
    units = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "地", "图", "app", "##s"]
    (tmp_path / "vocab.txt").write_text("".join(f"{unit}\n" for unit in units), encoding="utf-8")
    rows = ('{"label": "10", "sentence": "地图Apps"}', '{"label": "9", "sentence": "图"}')
    for name in ("train", "dev"):
        write_table(tmp_path / "clue" / "iflytek" / f"{name}.json", *rows)
    write_table(tmp_path / "clue" / "iflytek" / "test.json", '{"id": 5, "sentence": "地，"}')
    clue = ("--format", "jsonl", "--text-columns", "sentence", "--index-column", "id")
    wordpiece = ("--tokenizer", "wordpiece", "--vocab", tmp_path / "vocab.txt")
    said = succeed("glue.sh", *clue, *wordpiece, tmp_path / "clue", "iflytek", tmp_path / "out")
    assert "warning: <unk> stands for 50.0% of test.input0, which a model" in said
    data = tmp_path / "out" / "iflytek-bin"
    recorded = json.loads((data / "manifest.json").read_text("utf-8"))["data"]
    assert recorded["test.input0"] == {"sentences": 1, "tokens": 3, "unknown": 1}
    assert recorded["train.input0"] == {"sentences": 2, "tokens": 7, "unknown": 0}
    dictionary = data / "input0" / "dict.txt"
    assert dictionary.read_text("utf-8") == "地 1\n图 1\napp 1\n##s 1\n"
    assert decoded(data / "input0" / "train", dictionary) == ["地 图 app ##s", "图"]
    assert decoded(data / "input0" / "test", dictionary) == ["地 <unk>"]
    assert labels_of(data, "train") == ["10", "9"]
    assert (data / "label" / "dict.txt").read_text("utf-8") == "9 1\n10 1\n"
    assert (data / "index" / "test.index").read_text("utf-8") == "5\n"


@pytest.mark.slow
def test_glue_text_goes_through_the_steps_of_the_pretraining(pretrained, glue_dir, tmp_path):
    data_bin = tmp_path / "data-bin"
    data_bin.mkdir()
    for name in ("bpe.codes", "dict.txt"):
        shutil.copy(pretrained / "data-bin" / name, data_bin)
    (data_bin / "cleaning.txt").write_text("tokenize_words\n", encoding="utf-8")
    succeed("glue.sh", "--data-bin", data_bin, glue_dir, "CoLA", tmp_path / "out")
    text = (tmp_path / "out" / "work" / "CoLA" / "bpe" / "train.input0").read_text("utf-8")
    assert text.replace("@@ ", "").splitlines()[0] == '" Batiko lume .'


def test_check_compares_and_makes_nothing(tmp_path):
    write_table(tmp_path / "RTE" / "train.tsv", "index\tsentence1\tsentence2\tlabel")
    in_task = run("glue.sh", "--check", tmp_path / "RTE", "RTE")
    assert in_task.stdout.endswith(
        f"RTE/RTE, but {tmp_path}/RTE has such files: give its parent folder as GLUE_DIR\n"
    )
    result = run("glue.sh", "--check", tmp_path, "RTE")
    assert result.returncode == 1
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        *(["RTE", "train.tsv"], ["RTE", "dev.tsv"], ["RTE", "test.tsv"]),
    ]
    assert result.stdout.count("no such file") == 2
    assert "the official file has 2490" in result.stdout
    assert result.stderr == "check_glue: 3 of 3 files are missing or not the official ones\n"
    assert [path.name for path in tmp_path.rglob("*")] == ["RTE", "train.tsv"]


@pytest.mark.slow
def test_glue_says_what_it_left_out(glue_bins):
    out, said = glue_bins
    assert "QQP train: 2 rows (the official file has 363846); 1 dropped, first " in said
    assert "QQP/train.tsv:3: 2 fields instead of 6" in said
    assert "== RTE: not in " in said
    assert labels_of(out / "QQP-bin", "train") == ["1", "0"]


@pytest.mark.slow
def test_the_data_load_as_sentence_prediction(glue_bins):
    from fairseq.tasks.sentence_prediction import SentencePredictionConfig, SentencePredictionTask

    for name, classes in (("CoLA", 2), ("STS-B", 1), ("MNLI", 3)):
        config = SentencePredictionConfig(
            data=str(glue_bins[0] / f"{name}-bin"), num_classes=classes, seed=1
        )
        config.regression_target = name == "STS-B"
        config.init_token = 0
        config.separator_token = 2
        task = SentencePredictionTask.setup_task(config)
        for split in ("train", "valid", *(["valid1"] if name == "MNLI" else [])):
            data = task.load_dataset(split)
            batch = data.collater([data[index] for index in range(len(data))])
            assert batch["net_input"]["src_tokens"].shape[0] == len(data) > 0
            if not config.regression_target:
                assert 0 <= int(batch["target"].min()) <= int(batch["target"].max()) < classes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CoLA", "QQP", "MNLI"])
def test_a_raw_row_becomes_what_it_is_in_the_data(glue_bins, glue_dir, name):
    """By the record in TASK-bin alone."""
    from fairseq.data import Dictionary, data_utils

    data = glue_bins[0] / f"{name}-bin"
    treatment = read_treatment(data)
    words = Dictionary.load(str(data / "input0" / "dict.txt"))
    task = load_task(name)
    tables = [(file, file.find(glue_dir / name)) for file in task.files]
    for file, path in ((file, path) for file, path in tables if path.exists()):
        examples = [row for row in read_table(path, file, task) if isinstance(row, Example)]
        for place, column in enumerate(zip(*(row.inputs for row in examples), strict=True)):
            prefix = str(data / f"input{place}" / file.split)
            wanted = [ids.tolist() for ids in data_utils.load_indexed_dataset(prefix, words)]
            units = treatment(list(column))
            assert [[*map(words.index, line.split()), words.eos()] for line in units] == wanted


@pytest.mark.slow
def test_a_malformed_row_stops_glue_with_its_place_and_leaves_nothing(pretrained, tmp_path):
    for name in ("train", "dev"):
        write_table(
            tmp_path / "RTE" / f"{name}.tsv",
            "index\tsentence1\tsentence2\tlabel",
            "0\tA\tB\tentailment",
            "1\tA\tB\tmaybe",
        )
    arguments = ("--data-bin", pretrained / "data-bin", tmp_path, "RTE", tmp_path / "out")
    result = run("glue.sh", *arguments)
    assert result.returncode == 1
    assert "RTE/train.tsv:3: label 'maybe' is none of entailment, not_entailment" in result.stderr
    assert not (tmp_path / "out" / "RTE-bin").exists()
    assert not (tmp_path / "out" / "work" / "RTE" / "rows").exists()


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "text").write_text("some text\n", encoding="utf-8")
    (tmp_path / "empty").touch()
    (tmp_path / "codes").write_text("a b\n", encoding="utf-8")
    (tmp_path / "glue" / "CoLA").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        ("corpus", 2, "give at least one SOURCE and OUT_DIR"),
        ("corpus text", 2, "give at least one SOURCE and OUT_DIR"),
        ("corpus text text", 2, "OUT_DIR must be a folder"),
        ("corpus --bpe-merge 5 text out", 2, "unknown option --bpe-merge"),
        ("corpus text out --bpe-merges", 2, "--bpe-merges needs a value"),
        ("corpus text out --bpe-merges x", 2, "from 1 to 1,000,000,000, not 'x'"),
        ("corpus text out --bpe-merges 0", 2, "from 1 to 1,000,000,000, not '0'"),
        ("corpus text out --workers 9999", 2, "from 0 to 4,096, not '9999'"),
        ("corpus text out --valid-ratio 2", 2, "from 0 to below 1, not '2'"),
        ("corpus text out --language xx", 2, "a language of ISO 639-1, not 'xx'"),
        ("corpus -- -text out", 1, "no such file: -text"),
        ("corpus missing out", 1, "no such file: "),
        ("corpus empty out", 1, "the file is empty: "),
        ("corpus glue out", 1, "no file in the folder: "),
        ("corpus text out --shard 4/3", 2, "I/N with I from 1 to N, not '4/3'"),
        ("corpus text out --shard 1/2 --merge 2", 2, "not both"),
        ("corpus text out --merge 2", 1, "with --shard 1/2 instead of --merge"),
        ("corpus text out --skip tokenize_words", 2, "cannot be left out"),
        ("corpus text out --skip nothing", 2, "'nothing' cannot be left out"),
        ("corpus text out --dedup words", 2, "documents, lines or none"),
        ("corpus text out --wrapped y", 2, "must be auto, yes or no"),
        ("corpus text out --executor dask", 2, "must be local, slurm or ray, not 'dask'"),
        (
            "corpus text out --executor ray --merge 2",
            2,
            "divides by itself: no --shard, no --merge",
        ),
        ("corpus text out --near-duplicates 80", 2, "a number from 0 to 0.98, not '80'"),
        ("corpus text out --min-letter-share 2", 2, "from 0 to 1, not '2'"),
        ("corpus text out --tokenizer mosses", 2, "wordpiece or gpt2, not 'mosses'"),
        ("corpus text out --tokenizer wordpiece", 2, "needs --vocab FILE"),
        ("corpus text out --vocab text", 2, "are for --tokenizer wordpiece"),
        ("corpus text out --dict no", 1, "no such file: "),
        ("corpus text o --dict text --authors-dict text", 2, "not both"),
        ("task glue CoLA", 2, "give GLUE_DIR, TASK and OUT_DIR"),
        ("task glue CoLA o --tokenizer wordpiece --dict x", 2, "--vocab"),
        ("task glue CoLA o --vocab x", 2, "are for --tokenizer wordpiece"),
        ("task glue CoLA o --data-bin x --cased", 2, "is that of --data-bin"),
        ("task glue CoLA o --tokenizer no --vocab x", 2, "not 'no'"),
        ("task --check glue", 2, "give --check GLUE_DIR TASK"),
        ("task --check none CoLA", 1, "no such folder: none"),
        ("task glue X o --data-bin x --format csv", 2, "not 'csv'"),
        ("task glue CoLA o --data-bin x --format tsv", 2, "--format tsv needs --text-columns"),
        ("task glue CoLA o --data-bin x --regression", 2, "are for --format"),
        (
            "task glue CoLA out --data-bin x --format squad2",
            1,
            "no train-v2.0.json for the train set",
        ),
        ("task glue CoLA out", 2, "give --data-bin, or --bpe-codes and --dict"),
        ("task glue CoLA out --data-bin x", 1, "no such file: "),
        ("task none CoLA out --data-bin x", 1, "no such folder: "),
        ("task glue cola out --data-bin x", 1, "no GLUE task 'cola'"),
        ("task glue CoLA out --bpe-codes codes --dict text", 1, "no such file: "),
        ("corpus text out --dict text", 1, "text:1: expected 'symbol count'"),
        ("corpus text out --tokenizer wordpiece --vocab text", 1, "text:1: expected one unit"),
    ],
)
def test_mistakes_give_one_clear_line(folder, monkeypatch, capfd, command, status, message):
    monkeypatch.chdir(folder)
    try:
        ended = tupe(["data", *command.split()])
    except SystemExit as error:  # as argparse refuses
        ended = error.code
    assert ended == status
    told = capfd.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1
    assert not list(folder.glob("out/*-bin"))


@pytest.mark.parametrize(("script", "named"), [("pretrain.sh", "SOURCE"), ("glue.sh", "GLUE_DIR")])
def test_a_mistake_in_a_script_is_that_of_its_program(script, named):
    result = run(script)
    assert (result.returncode, result.stdout) == (2, "")
    assert named in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def books(tmp_path_factory) -> Path:
    """A folder: wrapped text, compressed text, a dump; with a copy and bytes that are no UTF-8."""
    folder = tmp_path_factory.mktemp("corpus") / "books"
    (folder / "more").mkdir(parents=True)
    text = made_up_text(60)
    (folder / "a.txt.gz").write_bytes(
        gzip.compress(text.encode() + b"\n\xff" + text[:2000].encode())
    )
    (folder / "b.txt").write_text(textwrap.fill(text, 72), encoding="utf-8")
    pages = "".join(
        f"<page><title>{n}</title><ns>0</ns><revision><text>'''Page''' {text[n * 300 :][:900]}"
        f"[[File:x.jpg]]{{{{cite}}}}</text></revision></page>"
        for n in range(40)
    )
    dump = f"<mediawiki>{pages}</mediawiki>".encode()
    (folder / "more" / "wiki.xml.bz2").write_bytes(bz2.compress(dump))
    return folder


BOOK_OPTIONS = ("--bpe-merges", MERGES, "--valid-ratio", "0.1", "--min-letter-share", "0.5")


@pytest.mark.slow
def test_shards_merged_are_the_whole_byte_for_byte(books, tmp_path):
    said = succeed("pretrain.sh", books, tmp_path / "whole", *BOOK_OPTIONS)
    assert "b.txt: the lines are wrapped" in said
    arguments = (books, tmp_path / "merged", *BOOK_OPTIONS)
    shards = [
        subprocess.Popen(
            [
                str(ROOT / "preprocess" / "pretrain.sh"),
                *map(str, [*arguments, "--shard", f"{number}/2", "--workers", 1]),
            ],
            env=environment(),
            stderr=subprocess.DEVNULL,
        )
        for number in (1, 2)  # side by side, in one folder
    ]
    assert [shard.wait(timeout=900) for shard in shards] == [0, 0]
    succeed("pretrain.sh", *arguments, "--merge", 2)
    whole = digests(tmp_path / "whole" / "data-bin")
    assert digests(tmp_path / "merged" / "data-bin") == whole
    assert {"manifest.json", "cleaning.txt", "train.bin", "bpe.codes"} <= set(whole)

    manifest = json.loads((tmp_path / "whole" / "data-bin" / "manifest.json").read_text("utf-8"))
    assert [source["name"] for source in manifest["inputs"]] == [
        *("a.txt.gz", "b.txt", "wiki.xml.bz2"),
    ]
    counted = manifest["steps"]["clean"]["corpus"]
    assert counted["articles"] == 40
    assert counted["files with wrapped lines"] == 1
    assert counted["bytes of invalid UTF-8 dropped"] == 1
    assert manifest["steps"]["text"]["documents dropped"] == 4  # text[:2000] begins as text does
    train = tmp_path / "whole" / "data-bin" / "train.bin"
    assert manifest["outputs"]["train.bin"]["sha256"] == whole["train.bin"]
    assert manifest["outputs"]["train.bin"]["bytes"] == train.stat().st_size

    result = run("pretrain.sh", *arguments, "--merge", 2, "--min-letters", 20)
    assert result.returncode == 1
    assert "was made from other inputs, options or versions" in result.stderr.splitlines()[-1]


@pytest.mark.slow
def test_wordpiece_data_has_the_vocabularys_units(tmp_path):
    (tmp_path / "text").write_text(made_up_text(50), encoding="utf-8")
    syllables = ["ba", "ko", "ti", "lu", "me"]
    units = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", '"', *syllables, "it"]
    units += [f"##{syllable}" for syllable in syllables]
    (tmp_path / "vocab.txt").write_text("".join(unit + "\n" for unit in units), encoding="utf-8")
    said = succeed(
        "pretrain.sh",
        *("text", "out", "--tokenizer", "wordpiece", "--vocab", "vocab.txt"),
        *("--valid-ratio", "0.1", "--max-line-tokens", "50"),
        cwd=tmp_path,
    )
    from fairseq.data import Dictionary, data_utils

    data = tmp_path / "out" / "data-bin"
    words = Dictionary.load(str(data / "dict.txt"))
    assert words.symbols[4:] == units[5:]
    lines = [
        words.string(ids).strip()
        for ids in data_utils.load_indexed_dataset(str(data / "train"), words)
    ]
    assert max(len(line.split()) for line in lines) == 44  # 12 words of 3 units and 8 more
    assert all(line.split()[0] in syllables for line in lines if line)
    recorded = json.loads((data / "manifest.json").read_text("utf-8"))["data"]
    assert recorded["train"]["unknown"] == " ".join(lines).split().count("<unk>")
    assert "warning: <unk> stands for 13.6% of train, 13.6% of valid, which" in said
    assert (data / "vocab.txt").read_bytes() == (tmp_path / "vocab.txt").read_bytes()
    assert (data / "cleaning.txt").read_text("utf-8") == "apply_wordpiece\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text.txt.gz", "text.txt.gz: cannot be read beyond line"),
        ("wiki.xml.bz2", "wiki.xml.bz2: cannot be read from its start on"),
    ],
)
def test_a_truncated_archive_stops_it_and_leaves_nothing(tmp_path, name, message):
    compress = gzip.compress if name.endswith(".gz") else bz2.compress
    text = "<mediawiki>" + made_up_text(300) if ".xml" in name else made_up_text(300)
    (tmp_path / name).write_bytes(compress(text.encode())[:-500])
    result = run("pretrain.sh", name, "out", cwd=tmp_path)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert "the step 'clean' failed" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out" / "work" / "clean").exists()
    assert not (tmp_path / "out" / "data-bin").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("blocks", "step"), [(50, "clean"), (260, "data-bin")])
def test_a_full_disk_stops_it_and_leaves_nothing_half_written(longer_text, tmp_path, blocks, step):
    # A limit on the size of a file fails as a full disk does: in the middle of a write.
    command = " ".join(map(shlex.quote, pretrain_command(longer_text, tmp_path / "out")))
    result = subprocess.run(
        ["bash", "-c", f"ulimit -f {blocks}; {command} --max-line-tokens 10000"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode != 0
    assert "File too large" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out" / "work" / step).exists()
    assert not (tmp_path / "out" / "data-bin").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("pretrain.sh", "text", "out"),
        ("glue.sh", "--bpe-codes", "codes", "--dict", "dict", ".", "CoLA", "out"),
        ("glue.sh", "--check", ".", "ALL"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("python", ["absent-python", "bare-python"])
def test_a_python_without_the_packages_is_said_in_one_line(folder, command, python):
    bare = folder / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # -S: no site-packages
    bare.chmod(0o755)
    result = subprocess.run(
        [str(ROOT / "preprocess" / command[0]), *command[1:]],
        cwd=folder,
        env={
            **environment(),
            "PYTHON": python,
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    lack = {"absent-python": "no absent-python: ", "bare-python": "bare-python has no sacremoses, "}
    assert lack[python] in result.stderr
    assert "(. .venv/bin/activate), or set PYTHON" in result.stderr
    assert not (folder / "out").exists()


def test_a_data_bin_that_is_not_ours_is_left_alone(folder):
    (folder / "out" / "work" / "clean").mkdir(parents=True)
    result = run("pretrain.sh", "text", "out", cwd=folder)
    assert result.returncode == 1
    assert "exists and was not made here" in result.stderr


@pytest.mark.parametrize(
    ("script", "options"), [("pretrain.sh", CorpusOptions), ("glue.sh", TaskOptions)]
)
def test_help_names_every_option(script, options):
    result = run(script, "--help")
    assert result.returncode == 0
    for field in dataclasses.fields(options):
        assert f"  --{field.name.replace('_', '-')} " in result.stdout
