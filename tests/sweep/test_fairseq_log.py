"""Reading fairseq's logs, as fairseq's own progress bars write them."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
import torch

from tupe_plugin.commands.plot_bitfit_drift import read_drift
from tupe_plugin.sweep.fairseq_log import UnreadableLogError, read_log

FORMAT = "%(asctime)s | %(levelname)s | %(name)s | %(message)s"


def json_line(tag: str, body: str) -> str:
    return f"2026-01-02 03:04:05 | INFO | {tag} | {body}\n"


@pytest.fixture(params=["json", "simple"])
def log_format(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[FORMAT, "%(message)s"], ids=["terminal", "--log-file"])
def fairseq_text(request: pytest.FixtureRequest, log_format: str) -> str:
    """A record of 20 updates, one of two validations and one of an epoch, in fairseq's words."""
    progress_bar = pytest.importorskip("fairseq.logging.progress_bar")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(request.param, "%Y-%m-%d %H:%M:%S"))
    logger = logging.getLogger("fairseq.logging.progress_bar")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    def bar(prefix: str | None = None):
        return progress_bar.progress_bar(
            range(50), log_format=log_format, log_interval=10, epoch=1, prefix=prefix
        )

    try:
        training = bar()
        for number, _ in enumerate(training, start=1):
            if number == 20:
                train = {"loss": 8.25, "ppl": 304.44, "lr": 5e-05, "num_updates": 20}
                training.log(train, tag="train_inner", step=20)
        for subset, loss, ppl in (("valid", 7.5, 181.02), ("valid1", 7.25, 152.22)):
            stats = {"loss": loss, "ppl": ppl, "num_updates": 40}
            bar(f"valid on '{subset}' subset").print(stats, tag=subset, step=40)
        training.print({"loss": 1.0, "num_updates": 50}, tag="train", step=50)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return stream.getvalue()


def test_training_and_each_validation_are_told_apart(fairseq_text: str, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(
        f"a warning\n{{'_name': None}}\nbegin epoch 1\n{fairseq_text}done\n", encoding="utf-8"
    )
    log = read_log(path)
    assert set(log.train) == {20}
    assert (log.train[20]["loss"], log.train[20]["ppl"]) == (8.25, 304.44)
    assert log.train[20]["lr"] == 5e-05
    assert set(log.valid) == {"valid", "valid1"}
    assert set(log.valid["valid"]) == set(log.valid["valid1"]) == {40}
    assert (log.valid["valid"][40]["loss"], log.valid["valid"][40]["ppl"]) == (7.5, 181.02)
    assert log.valid["valid1"][40]["loss"] == 7.25
    assert "ppl" in log.metrics()


def test_where_a_resumed_run_repeats_updates_its_figures_win(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    lines = [(10, 9.0), (20, 8.0), (20, 8.5), (30, 7.0)]
    path.write_text(
        "".join(
            json_line("train_inner", f'{{"loss": "{loss}", "num_updates": "{update}"}}')
            for update, loss in lines
        ),
        encoding="utf-8",
    )
    assert {u: point["loss"] for u, point in read_log(path).train.items()} == {
        10: 9.0,
        20: 8.5,
        30: 7.0,
    }


def test_a_line_cut_off_by_a_kill_and_a_nan_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(
        json_line("train_inner", '{"loss": "nan", "ppl": "5.5", "num_updates": "10"}')
        + '2026-01-02 03:04:05 | INFO | train_inner | {"loss": "8.',
        encoding="utf-8",
    )
    assert read_log(path).train == {10: {"ppl": 5.5}}


@pytest.mark.parametrize("text", ["", "no log at all\n", json_line("fairseq_cli.train", "hello")])
def test_a_file_without_training_is_refused_by_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableLogError, match=r"notes\.txt.*--log-format json"):
        read_log(path)


def test_what_is_no_log_is_named_with_what_to_give(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "a.pt")
    with pytest.raises(UnreadableLogError, match=r"a\.pt is a checkpoint and no log: give the out"):
        read_log(tmp_path / "a.pt")
    with pytest.raises(
        UnreadableLogError, match=r"a\.pt is a .*: give two checkpoints, BASE TUNED"
    ):
        read_drift(tmp_path / "a.pt")
    (tmp_path / "train.log").touch()
    with pytest.raises(
        UnreadableLogError, match=r"is a folder: give a log .*, such as .*/train\.log"
    ):
        read_log(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableLogError, match=r"absent\.log: No such file"):
        read_log(tmp_path / "absent.log")
