"""Run work on all cores: items out, their results back, in order, few of them in memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, Protocol, TypeVar

_ITEMS_AHEAD = 3  # for each worker: keeps all busy, bounds what is held in memory
_ITEMS_WORTH_A_START = 8  # fewer are done sooner than processes have started

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Work(Hashable, Protocol[Item_contra, Result_co]):
    """What workers do with items; small and picklable: it is sent with each item, built once."""

    def build(self) -> Callable[[Item_contra], Result_co]:
        """The function of an item, with the files that it needs read."""
        ...


class WorkerPool:
    """Worker processes for all the work of a job, one kind after the other; for a `with` statement.

    They start with the first work that is large enough. One worker is this process itself.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._has_started = False
        # Not "fork": a progress bar has a thread, and a forked thread's locks stay locked.
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
        )

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the result of each item, in order."""
        items = iter(items)
        enough = 2 if self._has_started else _ITEMS_WORTH_A_START
        first = list(islice(items, enough))
        if self._workers == 1 or len(first) < enough:
            return map(work.build(), chain(first, items))
        self._has_started = True
        return self._map_in_workers(work, chain(first, items))

    def _map_in_workers(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        pending: deque[Future[Result]] = deque()
        for item in items:
            with _ctrl_c_waits():  # submitting starts workers
                pending.append(self._pool.submit(_do, work, item))
            if len(pending) > self._workers * _ITEMS_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def all_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_built: tuple[Any, Any] = (None, None)  # in a worker: the last work and its function


def _do(work: Work[Item, Result], item: Item) -> Result:
    global _built
    if _built[0] != work:
        _built = (work, work.build())
    result: Result = _built[1](item)
    return result


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the parent was killed: nobody will ever send work or read results


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
