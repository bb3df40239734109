"""Run a chain of steps on all cores: blocks of passages out, the same blocks back, in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tqdm import tqdm

from .step_chain import Chain, Step

BLOCK_CHARACTERS = 50_000  # enough work for a worker that sending it costs nothing
_BLOCKS_AHEAD = 3  # for each worker: keeps all busy, bounds what is held in memory

# What a worker does with a block. A function of a module, so that it can be sent.
Work = Callable[[dict[str, Step], Any, Counter[str]], Any]

Item = TypeVar("Item")

_worker_steps: dict[str, Step] = {}


def all_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def blocks_of(
    items: Iterable[Item], size_of: Callable[[Item], int], *, size: int
) -> Iterator[list[Item]]:
    """Consecutive items in blocks that are together about ``size`` large."""
    block: list[Item] = []
    so_far = 0
    for item in items:
        block.append(item)
        so_far += size_of(item)
        if so_far >= size:
            yield block
            block, so_far = [], 0
    if block:
        yield block


def progress_in_bytes(paths: Iterable[Path], output: Path) -> tqdm[NoReturn]:
    """A progress bar over files that are read into one; in a log, a line now and then."""
    return tqdm(
        total=sum(path.stat().st_size for path in paths),
        unit="B",
        unit_scale=True,
        desc=output.name,
        mininterval=0.5 if sys.stderr.isatty() else 10,
    )


def _start_worker(chain: Chain) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _worker_steps.update(chain.build())


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the parent was killed: nobody will ever send work or read results


def _work(work: Work, block: Any) -> tuple[Any, Counter[str]]:
    counts: Counter[str] = Counter()
    return work(_worker_steps, block, counts), counts


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Hold Ctrl-C back for a moment, and from processes started meanwhile for good.

    A worker that has not come as far as `_start_worker` would answer it with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerPool:
    """Worker processes that each hold the chain; use it in a `with` statement."""

    def __init__(self, chain: Chain, *, workers: int) -> None:
        self._workers = workers
        self._pool = ProcessPoolExecutor(
            workers,
            # Not "fork": the progress bar has a thread, and a forked thread's locks stay locked.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(chain,),
        )

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def map(self, work: Work, blocks: Iterable[Any], counts: Counter[str]) -> Iterator[Any]:
        """Yield `work(steps, block, counts)` for each block, in order; few are in memory."""
        pending: deque[Future[tuple[Any, Counter[str]]]] = deque()

        def first_result() -> Any:
            result, more = pending.popleft().result()
            counts.update(more)
            return result

        for block in blocks:
            with _ctrl_c_waits():  # submitting starts workers
                pending.append(self._pool.submit(_work, work, block))
            if len(pending) > self._workers * _BLOCKS_AHEAD:
                yield first_result()
        while pending:
            yield first_result()
