"""A bad setting or bad data: one line before the first update, which names the option or the file.

One table for the settings, one for the data. `fairseq-train` runs in this process up to its error.
"""

from __future__ import annotations

import logging
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .sentence_task import write_sentence_task
from .training_jobs import differences, fine_tuning, load_checkpoint, pretraining

pytestmark = pytest.mark.slow

MLM = "masked_lm"
Pairs = list[tuple[str, str]]


def pairs(count: int, *labels: str) -> Pairs:
    """Sentences of 5 to 12 words."""
    draw = random.Random(count)
    texts = (" ".join(f"w{draw.randrange(30)}" for _ in range(5 + n % 8)) for n in range(count))
    return [(text, labels[n % len(labels)]) for n, text in enumerate(texts)]


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, 40 sentences in 5 batches to train on, 16 to validate with."""
    splits = {"train": pairs(40, "no", "maybe"), "valid": pairs(16, "no", "maybe")}
    return write_sentence_task(tmp_path_factory.mktemp("classes"), splits)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    splits = {"train": pairs(40, "0.5", "1"), "valid": pairs(16, "0.5", "1")}
    return write_sentence_task(tmp_path_factory.mktemp("numbers"), splits, regression=True)


BEST = "--best-checkpoint-metric"
MAXIMIZE = "--maximize-best-checkpoint-metric"
SETTINGS = {
    # dev sentences that are too long
    f"{MLM} --sample-break-mode eos --max-positions 8 --tokens-per-sample 8": (
        "valid: 12 of 16 blocks are longer than 8 tokens, such as number 10: ",
        "give --sample-break-mode none, ",
        "or raise --max-positions",
    ),
    "--max-positions 8": (
        "valid: 12 of 16 sentences are longer than 8 tokens, such as number 10: ",
        "give --shorten-method truncate",
        "--skip-invalid-size-inputs-valid-test, and all like it: metrics are then over 4 of 16",
    ),
    "--max-positions 8 --shorten-method truncate --shorten-data-split-list train": (
        "add valid to --shorten-data-split-list train",
    ),
    "--max-tokens 3": (
        "40 of 40 sentences are longer than 3 tokens, none is left: raise --max-tokens",
    ),
    # the metric of the best checkpoint
    f"{BEST} acc {MAXIMIZE}": (
        "--best-checkpoint-metric acc: validation has no such metric, it has "
        "loss, nll_loss, accuracy, mcc, macro_f1",
    ),
    f"{BEST} f1 {MAXIMIZE}": ("f1 is for two classes of which just one is positive", "entailment"),
    f"{BEST} pearson {MAXIMIZE}": ("pearson is for --regression-target",),
    f"{MLM} {BEST} mcc {MAXIMIZE}": ("no such metric, it has loss, ppl",),
    f"{BEST} accuracy": ("more is better, so give --maximize-best-checkpoint-metric",),
    f"{BEST} loss {MAXIMIZE}": ("less is better, so leave out --maximize-best-checkpoint-metric",),
    # validations that never are
    "--patience 1 --validate-interval 2": ("--patience 1 needs a validation", "--validate-int"),
    f"{BEST} mcc {MAXIMIZE} --validate-after-updates 6": ("before", "--validate-after-updates 6"),
    "--keep-best-checkpoints 2 --disable-validation": ("--keep-best-checkpoints 2 needs", "--dis"),
    # updates that never are
    "--update-freq 5 --skip-remainder-batch": ("--update-freq 5", "an epoch has 5 batches"),
    # parts that do not go with one another
    f"{MLM} --criterion rdrop": ("--criterion rdrop does not go with --task masked_lm",),
    f"{MLM} --criterion bitfit": ("--criterion bitfit does not go with --task masked_lm",),
    "--criterion bitfit": ("nothing is frozen; say which bias terms train", "--bitfit-terms"),
    "--arch bert_base": ("--arch bert_base has no classification head", "tupe_base"),
    # classes
    "--num-classes 1": ("--num-classes 1: the data has 2 labels (", "give --num-classes 2"),
    "--num-classes 3": ("--num-classes 3: ", "has 2 labels (", "give --num-classes 2"),
    "--init-token -5": ("--init-token -5: give the number of a word of the dictionary, from 0 ",),
    "--num-classes -1": ("--num-classes -1: give the number of labels in", "label/dict.txt"),
    "--regression-target --num-classes 1": ("label/train.label, which is not there", "dict.txt"),
    # splits
    "--valid-subset dev": ("--valid-subset dev: no ", "input0/dev.idx", "input0 has train, valid"),
    f"{MLM} --valid-subset dev": ("--valid-subset dev: no ", "input0/dev.idx", "train, valid"),
    "--train-subset all": ("--train-subset all: no ", "input0/all.idx"),
}


def job_with(setting: str, data: Path, save_dir: Path) -> list[str]:
    words = setting.split()
    if MLM in words[:1]:
        return pretraining(data / "input0", save_dir, "--max-epoch", 1, *words[1:])
    job = fine_tuning(data, save_dir, "--max-epoch", 1, *words)
    if "bert_base" in words:
        job.remove("--rel-pos")
    return job


@pytest.mark.parametrize("setting", SETTINGS)
def test_setting_is_refused(setting: str, classes: Path, tmp_path: Path, last_line) -> None:
    line = last_line(job_with(setting, classes, tmp_path))
    assert [part for part in SETTINGS[setting] if part not in line] == [], line
    assert not list(tmp_path.glob("*.pt"))


def without(name: str) -> Callable[[Path], None]:
    def remove(data: Path) -> None:
        for path in data.glob(f"{name}.*"):
            path.unlink()

    return remove


def with_pairs(split: str, rows: Pairs) -> Callable[[Path], None]:
    """That split in the place of the good one."""

    def write(data: Path) -> None:
        is_regression = (data / "label" / "train.label").exists()
        splits = {"train": pairs(40, "no", "maybe"), "valid": pairs(16, "no", "maybe")}
        shutil.rmtree(data)
        splits[split] = rows
        write_sentence_task(data.parent / "new", splits, regression=is_regression)
        shutil.move(data.parent / "new" / "bin", data)

    return write


def with_label(text: str) -> Callable[[Path], None]:
    """The second number of the dev set."""

    def write(data: Path) -> None:
        path = data / "label" / "valid.label"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([lines[0], text, *lines[2:]]) + "\n")

    return write


CLASSES = {
    "labels of a split are missing": (
        without("label/valid"),
        ("--valid-subset valid: its sentences have no labels: no ", "label/valid.idx"),
    ),
    "a label is not in the dictionary": (
        with_pairs("valid", pairs(16, "no", "other", "maybe")),
        ("the label of line 2 (and of 4 more) of ", "label/valid is not in ", "label/dict.txt"),
    ),
    "a label of two words": (
        with_pairs("train", pairs(40, "no", "maybe maybe")),
        ("--train-subset train: line 2 (and of 19 more) of ", "a label is one word"),
    ),
    "fewer labels than sentences": (
        lambda data: [shutil.copy(data / f"label/valid.{e}", data / f"label/train.{e}") for e in
                      ("idx", "bin")],
        ("--train-subset train: 40 sentences, but 16 labels in ",),
    ),
    "no dev sentence": (with_pairs("valid", []), ("--valid-subset valid: ", "is empty")),
    "no training sentence": (with_pairs("train", []), ("--train-subset train: ", "is empty")),
}  # fmt: skip
NUMBERS = {
    "not a number": (with_label("nan"), ("label/valid.label, line 2: 'nan' is not a finite",)),
    "too large": (with_label("1e39"), ("label/valid.label, line 2: '1e39' is not a finite",)),
    "text": (with_label("good"), ("label/valid.label, line 2: 'good' is not a finite number",)),
    "two numbers": (with_label("1 2"), ("line 2: 2 numbers, but --num-classes 1",)),
    "numbers are missing": (
        without("label/valid"),
        ("valid.label, which is not there",),
    ),
}


@pytest.mark.parametrize("fault", [*CLASSES, *NUMBERS])
def test_data_are_refused(
    fault: str, classes: Path, numbers: Path, tmp_path: Path, last_line
) -> None:
    spoil, words = {**CLASSES, **NUMBERS}[fault]
    data = tmp_path / "data"
    shutil.copytree(classes if fault in CLASSES else numbers, data)
    spoil(data)
    regression = () if fault in CLASSES else ("--regression-target", "--num-classes", 1)
    line = last_line(fine_tuning(data, tmp_path / "run", "--max-epoch", 1, *regression))
    assert line.startswith("fairseq-train: error: --"), "a traceback"
    assert [part for part in words if part not in line] == [], line


def test_numbers_without_regression_target(numbers: Path, tmp_path: Path, last_line) -> None:
    assert last_line(fine_tuning(numbers, tmp_path, "--max-epoch", 1)).endswith(
        f"{numbers}/label has numbers (train.label) and no dict.txt: give --regression-target "
        "--num-classes 1"
    )


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch, caplog) -> Iterator[Callable[..., list[str]]]:
    """Run a job to its end and give what it warned of."""
    from fairseq import checkpoint_utils
    from fairseq_cli import train

    def run(job: list[str]) -> list[str]:
        # The best score of a job is an attribute of this function, and outlives it in a process.
        vars(checkpoint_utils.save_checkpoint).pop("best", None)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.setattr(sys, "argv", ["fairseq-train", *job])
        with caplog.at_level(logging.WARNING):
            train.cli_main()
        return [record.getMessage() for record in caplog.records if record.levelno >= 30]

    return run


def test_what_is_left_out_is_counted(classes: Path, tmp_path: Path, warnings) -> None:
    """Once for training, and in every validation; the job goes on, as its user asked for it."""
    skip = ("--max-positions", 8, "--skip-invalid-size-inputs-valid-test")
    told = warnings(fine_tuning(classes, tmp_path, "--max-epoch", 2, *skip))
    advice = "LEFT OUT: give --shorten-method truncate, which cuts their ends, or raise --max-po"
    assert any(
        f"train: 30 of 40 sentences are longer than 8 tokens and are {advice}" in t for t in told
    )
    of_validations = [t for t in told if t.startswith("valid: metrics are over 4 of 16 sentences")]
    assert len(of_validations) >= 2
    assert (tmp_path / "checkpoint_best.pt").exists()


@pytest.mark.parametrize(
    "advice",
    ["--shorten-method truncate", f"{MLM} --sample-break-mode none --tokens-per-sample 8"],
)
def test_advice_against_long_sentences_leaves_nothing_out(
    advice: str, classes: Path, tmp_path: Path, warnings
) -> None:
    job = job_with(f"{advice} --max-positions 8 --no-save", classes, tmp_path)
    assert not [told for told in warnings(job) if "sentences" in told or "blocks" in told]


def test_a_job_with_all_checks_equals_one_with_fewer(
    classes: Path, tmp_path: Path, warnings
) -> None:
    """The look at the metrics leaves nothing behind, in meters above all."""
    ends = []
    for name, metric in (("few", ""), ("all", f"{BEST} mcc {MAXIMIZE}")):
        warnings(job_with(metric, classes, tmp_path / name))
        ends.append(load_checkpoint(tmp_path / name / "checkpoint_last.pt"))
    for end in ends:
        for part in ("val_loss", "best", "previous_training_time"):
            del end["extra_state"][part]
        end["extra_state"]["metrics"] = {
            name: {m: state for _, m, _, state in meters if "count" in state and "sum" in state}
            for name, meters in end["extra_state"]["metrics"].items()
        }
    for part in ("model", "last_optimizer_state", "extra_state"):
        assert list(differences(ends[0][part], ends[1][part])) == [], part
