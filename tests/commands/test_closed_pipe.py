"""`tupe ... | head -1`: who reads has left, and that is no error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import TextIOWrapper

import pytest

from tupe_plugin import commands
from tupe_plugin.commands import user_dir
from tupe_plugin.commands.closed_pipe import STATUS


@pytest.fixture
def without_reader() -> Iterator[TextIOWrapper]:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        yield pipe  # Python closes it as it ends: what is left must go somewhere


@pytest.mark.parametrize(
    ("stream", "arguments"),
    [("stdout", ["user-dir"]), ("stdout", ["report", "--help"]), ("stderr", ["report", "absent"])],
)
def test_a_command_without_a_reader_ends_as_if_by_the_signal(
    without_reader: TextIOWrapper, monkeypatch, capfd, stream: str, arguments: list[str]
) -> None:
    without_reader.reconfigure(line_buffering=stream == "stderr")  # as Python has them
    monkeypatch.setattr(f"sys.{stream}", without_reader)
    assert commands.main(arguments) == STATUS
    without_reader.flush()
    assert capfd.readouterr() == ("", "")


def test_an_error_is_told_where_nobody_reads_the_output(
    without_reader: TextIOWrapper, monkeypatch, capsys
) -> None:
    def failing(args: object) -> int:
        print("half a table")
        raise ValueError("the other half is not there")

    monkeypatch.setattr(user_dir, "run", failing)
    monkeypatch.setattr("sys.stdout", without_reader)
    assert commands.main(["user-dir"]) == 1
    assert capsys.readouterr().err == "tupe user-dir: the other half is not there\n"
    without_reader.flush()


def test_another_pipe_that_breaks_is_an_error(monkeypatch, capsys) -> None:
    def broken(args: object) -> int:
        raise BrokenPipeError("a worker is gone")

    monkeypatch.setattr(user_dir, "run", broken)
    assert commands.main(["user-dir"]) == 1
    assert capsys.readouterr().err == "tupe user-dir: a worker is gone\n"


def test_output_that_finds_no_room_is_an_error(monkeypatch, capsys) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert commands.main(["user-dir"]) == 1
    assert capsys.readouterr().err == "tupe user-dir: [Errno 28] No space left on device\n"
