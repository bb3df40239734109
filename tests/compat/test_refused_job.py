"""How a job ends that cannot go on: one line, which says what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest
from fairseq import options
from fairseq.data import Dictionary
from fairseq_cli import train as program

from tupe_plugin.commands import main
from tupe_plugin.compat.refused_job import end_refused_jobs_in_one_line


def end_of_job(error: BaseException, save_dir: Path | None = None) -> BaseException:
    """What comes out of `fairseq-train` when that error comes up in it."""

    def main(cfg: Any) -> None:
        raise error

    train = FunctionType(main.__code__, vars(program), closure=main.__closure__)
    fairseq = SimpleNamespace(call_main=lambda cfg, main: main(cfg))
    end_refused_jobs_in_one_line(fairseq)
    checkpoint = SimpleNamespace(save_dir=str(save_dir), checkpoint_suffix="")
    with pytest.raises((AssertionError, KeyboardInterrupt, SystemExit)) as end:
        fairseq.call_main(SimpleNamespace(checkpoint=checkpoint), train)
    return end.value


def test_no_batch_size_is_one_line() -> None:
    end = end_of_job(AssertionError("Must specify batch size either with --max-tokens or ..."))
    assert str(end).endswith("error: no batch size: give --batch-size (sentences) or --max-tokens")
    assert str(end_of_job(AssertionError("other"))) == "other"


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # put back at the end

    def show(error: BaseException) -> str:
        sys.excepthook(type(error), error, error.__traceback__)  # as Python does at its end
        return capsys.readouterr().err

    return show


def test_ctrl_c_says_how_to_go_on(printed, tmp_path: Path) -> None:
    """It still ends by the signal, or a script around the program would go on."""
    last = tmp_path / "checkpoint_last.pt"
    line = printed(end_of_job(KeyboardInterrupt(), tmp_path))
    assert line.count("\n") == 1
    assert line.endswith(f"no {last} yet, so the same command starts from the beginning\n")
    last.touch()
    line = printed(end_of_job(KeyboardInterrupt(), tmp_path))
    assert line.endswith(f"interrupted: start the same command again to go on from {last}\n")
    assert "ZeroDivisionError" in printed(ZeroDivisionError())


def test_ctrl_c_of_a_tool_is_one_line(printed, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tupe_plugin.commands.user_dir.run", interrupt)
    with pytest.raises(KeyboardInterrupt) as end:
        main(["user-dir"])
    assert printed(end.value).endswith(": user-dir interrupted\n")


def test_validation_without_a_task_asks_for_it() -> None:
    with pytest.raises(SystemExit, match="error: give --task, the one that the checkpoint was"):
        options.parse_args_and_arch(options.get_validation_parser(), ["data", "--path", "a.pt"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("books/dict.txt", "no dict.txt in books; did you mean books/data-bin?"),
        ("books/data/dict.txt", "no folder books/data; did you mean books/data-bin?"),
        ("books/data-bin/input0/dict.txt", "it is data for --task masked_lm"),
        ("glue/input0/dict.txt", "no input0/dict.txt in glue; did you mean glue/CoLA-bin?"),
        ("glue/CoLA/input0/dict.txt", "no folder glue/CoLA; did you mean glue/CoLA-bin?"),
        ("glue/CoLA-bin/dict.txt", "it is data for --task sentence_prediction"),
        ("other/dict.txt", "there is no folder other: give a folder of binarised data"),
        ("dict.txt", "no dict.txt in .: give a folder of binarised data"),
    ],
)
def test_the_folder_of_data_that_was_meant_is_named(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("books/data-bin", "glue/CoLA-bin/input0"):
        Path(folder).mkdir(parents=True)
        Path(folder, "dict.txt").touch()
    with pytest.raises(FileNotFoundError) as refused:
        Dictionary.load(path)
    assert message in str(refused.value)
