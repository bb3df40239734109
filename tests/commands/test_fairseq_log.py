"""Reading fairseq's logs, as fairseq's own progress bars write them."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from tupe_plugin.commands.fairseq_log import UnreadableLogError, read_log

FORMAT = "%(asctime)s | %(levelname)s | %(name)s | %(message)s"


def json_line(tag: str, body: str) -> str:
    return f"2026-01-02 03:04:05 | INFO | {tag} | {body}\n"


@pytest.fixture(params=["json", "simple"])
def fairseq_text(request: pytest.FixtureRequest) -> str:
    """A record of 20 updates, one of two validations and one of an epoch, in fairseq's words."""
    progress_bar = pytest.importorskip("fairseq.logging.progress_bar")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(FORMAT, "%Y-%m-%d %H:%M:%S"))
    logger = logging.getLogger("fairseq.logging.progress_bar")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        bar = progress_bar.progress_bar(
            range(50), log_format=request.param, log_interval=10, epoch=1
        )
        for number, _ in enumerate(bar, start=1):
            if number == 20:
                train = {"loss": 8.25, "ppl": 304.44, "lr": 5e-05, "num_updates": 20}
                bar.log(train, tag="train_inner", step=20)
        bar.print({"loss": 7.5, "ppl": 181.02, "num_updates": 40}, tag="valid", step=40)
        bar.print({"loss": 7.25, "ppl": 152.22, "num_updates": 40}, tag="valid1", step=40)
        bar.print({"loss": 1.0, "num_updates": 50}, tag="train", step=50)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return stream.getvalue()


def test_training_and_each_validation_are_told_apart(fairseq_text: str, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(f"a warning\n{fairseq_text}done\n", encoding="utf-8")
    log = read_log(path)
    assert set(log.train) == {20}
    assert (log.train[20]["loss"], log.train[20]["ppl"]) == (8.25, 304.44)
    assert log.train[20]["lr"] == 5e-05
    assert set(log.valid) == {"valid", "valid1"}
    assert set(log.valid["valid"]) == set(log.valid["valid1"]) == {40}
    assert (log.valid["valid"][40]["loss"], log.valid["valid"][40]["ppl"]) == (7.5, 181.02)
    assert log.valid["valid1"][40]["loss"] == 7.25
    assert "ppl" in log.metrics()


def test_log_file_holds_json_without_the_names_in_front(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(
        "{'_name': None, 'common': {'seed': 1}}\nbegin training epoch 1\n"
        '{"epoch": 1, "loss": "8.25", "num_updates": "20"}\n'
        '{"epoch": 1, "valid_loss": "7.5", "valid_num_updates": "40"}\n'
        '{"epoch": 1, "valid1_loss": "7.25", "valid1_num_updates": "40"}\n'
        '{"epoch": 1, "train_loss": "1.0", "train_num_updates": "50"}\n',
        encoding="utf-8",
    )
    log = read_log(path)
    assert log.train == {20: {"epoch": 1.0, "loss": 8.25}}
    assert log.valid == {
        "valid": {40: {"epoch": 1.0, "loss": 7.5}},
        "valid1": {40: {"epoch": 1.0, "loss": 7.25}},
    }


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


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableLogError, match=r"absent\.log: No such file"):
        read_log(tmp_path / "absent.log")
