"""`examples/demo`: its corpus, its task, and a cut-down run, interrupted once."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from tests.end_to_end.example_scripts import PATIENCE, start_script, wait_for
from tests.end_to_end.training_jobs import running

DEMO = Path(__file__).parents[2] / "examples" / "demo"
MODELS = ("tupe-r", "bert-a", "none")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"demo_{name}", DEMO / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build_corpus, build_task = load("build_corpus"), load("build_task")


class TestCorpus:
    DOCUMENT = """Return the *first* item (see section Items).

    Usage::

        >>> first([1, 2])

    - The list must not be empty.  It is
      not changed by this function.

    ===== =====
    Table that is left out.
    ===== =====

    The list must not be empty."""

    def test_prose_is_kept_and_code_tables_and_repetitions_are_not(self) -> None:
        assert list(build_corpus.clean_documents([self.DOCUMENT])) == [
            [
                "Return the first item.",
                "The list must not be empty.",
                "It is not changed by this function.",
            ]
        ]

    def test_a_sentence_of_an_earlier_document_is_left_out(self) -> None:
        text = "The list must not be empty."
        assert list(build_corpus.clean_documents([text, text.upper(), "It is a new one."])) == [
            [text],
            ["It is a new one."],
        ]

    @pytest.mark.parametrize(
        "sentence",
        ["x = y + 1 is not {} code", "too short.", "lower case at the start.", "A1 B2 C3 D4 e"],
    )
    def test_what_is_no_sentence(self, sentence: str) -> None:
        assert not build_corpus.is_clean(sentence)

    @pytest.mark.slow
    def test_this_python_gives_enough_text_and_the_same_each_time(self, tmp_path: Path) -> None:
        for seed in ("1", "2"):
            subprocess.run(
                [sys.executable, DEMO / "build_corpus.py", tmp_path / seed],
                env={**os.environ, "PYTHONHASHSEED": seed},
                check=True,
                timeout=PATIENCE,
            )
        text = (tmp_path / "1").read_bytes()
        assert text == (tmp_path / "2").read_bytes()
        documents = text.decode("utf-8").split("\n\n")
        sentences = [line for document in documents for line in document.splitlines() if line]
        assert len(documents) > 300
        assert 12_000 < len(sentences) < 25_000
        assert len({sentence.lower() for sentence in sentences}) == len(sentences)


class TestTask:
    LINES = ("it re@@ ads a line of text .", "too short .", "one two three four five ?")

    def test_words_move_whole_and_the_end_mark_goes(self) -> None:
        assert list(build_task.examples(self.LINES, met=set())) == [
            ("it re@@ ads a line of text", "forward"),
            ("text of line a re@@ ads it", "backward"),
            ("one two three four five", "forward"),
            ("five four three two one", "backward"),
        ]

    def test_each_bag_of_words_has_both_labels_once(self) -> None:
        lines = [*self.LINES, *self.LINES, "a b c d e f", "a a a a a a", "w " * 50]
        made = build_task.examples(lines, met=set())
        found = Counter((tuple(sorted(text.split())), label) for text, label in made)
        bags = {bag for bag, _ in found}
        assert len(bags) == 3  # repetitions, palindromes and long lines are left out
        assert found == Counter((bag, label) for bag in bags for label in ("forward", "backward"))

    def test_what_training_has_seen_is_no_test(self) -> None:
        met: set[str] = set()
        assert len(list(build_task.examples(self.LINES, met=met))) == 4
        lines = ("it re@@ ads a line of text", "five four three two one", "a new line of five")
        assert [text for text, _ in build_task.examples(lines, met=met)] == [
            "a new line of five",
            "five of line new a",
        ]


def start(out: Path, **settings: object) -> subprocess.Popen[str]:
    return start_script(
        *("bash", DEMO / "run.sh", out),
        stderr=subprocess.STDOUT,
        CUDA_VISIBLE_DEVICES="",
        **{name: str(value) for name, value in settings.items()},
    )


def finish(run: subprocess.Popen[str]) -> str:
    """The output of a run that must succeed."""
    output, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, output[-3000:]
    return output


SHORT = {"PRETRAIN_UPDATES": 40, "FINETUNE_UPDATES": 4, "VALIDATIONS": 20}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "with a space"


@pytest.fixture(scope="module")
def interrupted(out: Path) -> str:
    """Output of a run that was interrupted in the middle of pre-training."""
    run = start(out, **SHORT)
    last = [out / model / "pretrain" / "checkpoint_last.pt" for model in MODELS]
    wait_for(lambda: all(checkpoint.exists() for checkpoint in last), of=run)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 130, output[-3000:]
    assert running(out) == []  # a training that lives on would write into the next run's folder
    return output


@pytest.fixture(scope="module")
def output(out: Path, interrupted: str) -> str:
    """Output of the run that goes on from there."""
    return finish(start(out, **SHORT))


@pytest.mark.slow
class TestRun:
    def test_an_interruption_says_how_to_go_on(self, interrupted: str) -> None:
        assert interrupted.endswith("demo: interrupted; run the same command again to go on\n")

    def test_the_next_run_goes_on_where_it_stopped(self, out: Path, output: str) -> None:
        assert "data-bin: done before" in output
        for model in MODELS:
            log = (out / model / "pretrain" / "train.log").read_text(encoding="utf-8")
            assert re.search(r"Loaded checkpoint \S.*checkpoint_last\.pt \(epoch 1 @ \d+ upd", log)

    def test_the_table_is_that_of_the_logs(self, out: Path, output: str) -> None:
        for title, model in (("TUPE-R", "tupe-r"), ("BERT-A", "bert-a"), ("no positions", "none")):
            valid = (out / model / "finetune" / "train.log").read_text(encoding="utf-8")
            accuracy = float(re.findall(r'"valid_accuracy": "([\d.]+)"', valid)[-1])
            row = re.search(rf"^{title} +(\d+) +(\d+) +([\d.]+) %$", output, re.MULTILINE)
            assert row is not None, output
            assert row[3] == f"{accuracy:.1f}"
        assert re.search(r"^majority class +50\.0 %$", output, re.MULTILINE)

    def test_without_positions_a_model_is_at_chance(self, output: str) -> None:
        assert re.search(r"^no positions .* 50\.0 %$", output, re.MULTILINE)

    def test_training_and_development_share_no_sentence(self, out: Path, output: str) -> None:
        train, valid = (
            set((out / "task" / f"{split}.input0").read_text(encoding="utf-8").splitlines())
            for split in ("train", "valid")
        )
        assert len(valid) > 500
        assert not train & valid

    def test_a_picture(self, out: Path, output: str) -> None:
        assert (out / "learning-curve.png").read_bytes().startswith(b"\x89PNG")
        assert output.endswith(" done\n")
        assert f"Look at  {out}/learning-curve.png\n" in output

    def test_once_done_a_rerun_trains_nothing(self, out: Path, output: str) -> None:
        logs = [out / model / "finetune" / "train.log" for model in MODELS]
        before = [log.stat().st_mtime_ns for log in logs]
        again = finish(start(out, **SHORT))
        assert [log.stat().st_mtime_ns for log in logs] == before
        assert (
            again.split("Results")[1].splitlines()[1:6]
            == output.split("Results")[1].splitlines()[1:6]
        )


@pytest.mark.slow
def test_a_training_that_fails_is_named_and_ends_the_demo(out: Path, output: str) -> None:
    label = out / "task" / "data-bin" / "label" / "train.bin"
    logs = [out / model / "finetune" for model in MODELS]
    label.unlink()
    for folder in logs:
        (folder / "train.log").unlink()
    run = start(out, **SHORT)
    text, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 1
    assert re.search(r"demo: a training failed; its whole output is in .*finetune/train\.log", text)
    assert "Results" not in text


def test_a_folder_that_is_not_the_demo_s_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work", encoding="utf-8")
    run = start(mine)
    text, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 1
    assert "was not made by the demo; choose another folder" in text
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
