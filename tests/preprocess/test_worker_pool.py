"""Tests of the worker processes: order, errors, and workers that are killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tupe_plugin.data.worker_pool import WorkerKilledError, WorkerPool

ITEMS = 30
LARGE = bytes(1 << 24)  # far more than a pipe holds: to write it takes as long as to read it


@dataclass(frozen=True)
class Work:
    """Squares, and a function of this file for one item."""

    name: str

    def build(self) -> Callable[[int], object]:
        function: Callable[[int], object] = globals()[self.name]
        return lambda item: function(item) if item == ITEMS // 2 else square(item)


def square(item: int) -> object:
    return item * item


def refuse(item: int) -> object:
    raise ValueError(f"{item} is refused")


def raise_a_lock(item: int) -> object:
    error = ValueError(f"{item} has a lock")
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    raise error


def die_at_work(item: int) -> object:
    os.kill(os.getpid(), signal.SIGKILL)


def die_writing(item: int) -> object:
    me = threading.get_ident()

    def kill() -> None:
        while sys._current_frames()[me].f_code.co_name != "_send":
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    return LARGE


def test_results_come_in_order_whatever_was_done_before():
    with WorkerPool(3) as pool:
        for _ in range(2):
            assert list(pool.map(Work("square"), range(14))) == [item * item for item in range(14)]


def test_an_error_is_the_works_own_and_says_where_it_was():
    with pytest.raises(ValueError, match="15 is refused") as caught, WorkerPool(2) as pool:
        list(pool.map(Work("refuse"), range(ITEMS)))
    assert "in refuse" in str(caught.value.__cause__)


def test_an_error_that_cannot_be_sent_is_told_as_another() -> None:
    with pytest.raises(RuntimeError, match="15 has a lock"), WorkerPool(2) as pool:
        list(pool.map(Work("raise_a_lock"), range(ITEMS)))


@pytest.mark.parametrize("name", ["die_at_work", "die_writing"])
def test_a_killed_worker_ends_the_job_at_once(name):
    outcome: list[BaseException] = []

    def run() -> None:
        try:
            with WorkerPool(2) as pool:
                list(pool.map(Work(name), range(ITEMS)))
        except WorkerKilledError as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout=60)
    assert not thread.is_alive(), "the pool waits for a process that is dead"
    assert outcome
