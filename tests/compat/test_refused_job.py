"""How a job ends that cannot go on: one line, which says what to do."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from fairseq import options
from fairseq.checkpoint_utils import verify_checkpoint_directory
from fairseq.data import Dictionary
from fairseq_cli import generate
from fairseq_cli import train as program
from omegaconf import OmegaConf
from torch.multiprocessing import ProcessRaisedException

from tupe_plugin import compat
from tupe_plugin.checkpoint.errors import UnusableCheckpointError
from tupe_plugin.commands import main
from tupe_plugin.compat.checkpoint_errors import say_why_a_checkpoint_does_not_fit
from tupe_plugin.compat.refused_job import (
    RefusedJobError,
    bring_home_what_workers_refuse,
    end_refused_commands_in_one_line,
    end_refused_jobs_in_one_line,
    raised_here,
)


def end_of_job(error: BaseException, save_dir: Path | None = None) -> BaseException:
    """What comes out of `fairseq-train` when that error comes up in it."""

    def main(cfg: Any) -> None:
        raise error

    train = FunctionType(main.__code__, vars(program), closure=main.__closure__)
    fairseq = SimpleNamespace(call_main=lambda cfg, main: main(cfg))
    end_refused_jobs_in_one_line(fairseq)
    checkpoint = SimpleNamespace(save_dir=str(save_dir), checkpoint_suffix="")
    cfg = SimpleNamespace(checkpoint=checkpoint)
    with pytest.raises((AssertionError, KeyboardInterrupt, SystemExit)) as end:
        in_a_command(lambda: fairseq.call_main(cfg, train))
    return end.value


def in_a_command(call: Callable[[], Any]) -> None:
    """Call as `fairseq-train` would."""

    def cli_main() -> None:
        call()

    code = cli_main.__code__.replace(co_filename=program.__file__)
    FunctionType(code, globals(), closure=cli_main.__closure__)()


def test_batches_of_no_size_are_one_line() -> None:
    end = end_of_job(AssertionError("Must specify batch size either with --max-tokens or ..."))
    assert str(end).endswith("error: no batch size: give --batch-size (sentences) or --max-tokens")
    too_long = end_of_job(AssertionError("Sentences lengths should not exceed max_tokens=5"))
    assert "error: Sentences lengths should not exceed max_tokens=5: raise --max-tok" in str(
        too_long
    )
    assert str(end_of_job(AssertionError("other"))) == "other"


def test_what_a_spawned_worker_refuses_is_one_line(tmp_path: Path) -> None:
    """A --save-dir that is a file, as an example; and a fault, which keeps its traceback."""

    def train(cfg: Any) -> None:
        verify_checkpoint_directory(str(cfg.save_dir))
        raise ValueError("a fault")

    def spawn(cfg: Any, main: Any) -> None:
        """As torch does it: the worker's traceback is the text of an error."""
        try:
            fairseq.distributed_main(0, main, cfg, {})
        except Exception:
            raise ProcessRaisedException(traceback.format_exc(), 0, 1) from None

    fairseq = SimpleNamespace(
        call_main=spawn, distributed_main=lambda number, main, cfg, named: main(cfg, **named)
    )
    bring_home_what_workers_refuse(fairseq)
    end_refused_jobs_in_one_line(fairseq)
    (tmp_path / "file").touch()
    how = SimpleNamespace(distributed_no_spawn=False)
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        cfg = SimpleNamespace(save_dir=folder, distributed_training=how)
        with pytest.raises(SystemExit) as end:
            in_a_command(lambda cfg=cfg: fairseq.call_main(cfg, train))
        with pytest.raises(RefusedJobError, match="cannot be written to"):
            fairseq.call_main(cfg, train)  # by a program of another kind
        assert f"error: --save-dir {folder} cannot be written to (" in str(end.value)
        assert str(end.value).endswith("): name another folder")
    with pytest.raises(ProcessRaisedException, match="a fault"):
        fairseq.call_main(SimpleNamespace(save_dir=tmp_path, distributed_training=how), train)


def test_a_state_that_does_not_fit_names_the_option() -> None:
    class Trainer:
        cfg: ClassVar[dict[str, Any]] = {"model": {"bitfit_terms": "all", "dropout": 0.2}}

        def get_model(self) -> None:
            """One that compares nothing itself."""

        def _build_optimizer(self) -> None:
            """Nothing to refuse."""

        def load_checkpoint(self, filename: str) -> None:
            raise ValueError("parameter group that doesn't match")

    saved = {"cfg": {"model": {"bitfit_terms": None, "dropout": 0.1}}}
    fairseq = SimpleNamespace(
        Trainer=Trainer, checkpoint_utils=SimpleNamespace(load_checkpoint_to_cpu=lambda _: saved)
    )
    say_why_a_checkpoint_does_not_fit(fairseq)
    with pytest.raises(UnusableCheckpointError) as refused:
        Trainer().load_checkpoint("a.pt")
    assert str(refused.value) == (
        "checkpoint a.pt cannot be resumed from: parameter group that doesn't match; it was "
        "written with --bitfit-terms None (here all)"
    )


def test_an_optimizer_that_refuses_its_options_does_not_blame_the_checkpoint() -> None:
    """fairseq builds it while it loads a checkpoint."""

    class Trainer:
        def get_model(self) -> None:
            """One that compares nothing itself."""

        def load_checkpoint(self, filename: str) -> None:
            self._build_optimizer()

        def _build_optimizer(self) -> None:
            raise ValueError("--mfac-parameters biases: leave it out")

    say_why_a_checkpoint_does_not_fit(SimpleNamespace(Trainer=Trainer))
    with pytest.raises(ValueError, match=r"^--mfac-parameters biases: leave it out$"):
        Trainer().load_checkpoint("a.pt")


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


def test_a_command_that_starts_no_workers_is_refused_in_one_line(printed) -> None:
    """Such as `fairseq-generate`. Other programs that make its option parser keep tracebacks."""
    fairseq = SimpleNamespace(get_parser=lambda description: description)
    end_refused_commands_in_one_line(fairseq)
    fairseq.get_parser("of another program")
    with pytest.raises(RefusedJobError) as refused:
        verify_checkpoint_directory("/dev/null")
    assert "Traceback" in printed(refused.value)
    in_a_command(lambda: fairseq.get_parser("Generation"))
    line = printed(refused.value)
    assert line.endswith("name another folder\n")
    assert line.count("\n") == 1
    assert "ValueError" in printed(ValueError("a fault"))
    cfg = OmegaConf.create({"common_eval": {"path": None}})
    with pytest.raises(AssertionError) as asserted:
        generate.main(cfg)
    assert printed(asserted.value).endswith(": error: --path required for generation!\n")


def test_a_command_without_a_checkpoint_asks_for_it() -> None:
    for make_parser in (options.get_eval_lm_parser, options.get_interactive_generation_parser):
        parser = make_parser()
        with pytest.raises(SystemExit, match="error: give --path, the checkpoint"):
            in_a_command(lambda parser=parser: options.parse_args_and_arch(parser, ["data"]))
        options.parse_args_and_arch(make_parser(), ["data"])  # in another program


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


def test_an_error_that_nobody_raised_was_not_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the program runs, even in the folder of the package."""
    monkeypatch.chdir(Path(compat.__file__).parent)
    assert not raised_here(ValueError("made, and not raised"))
