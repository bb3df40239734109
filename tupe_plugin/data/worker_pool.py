"""Run work on all cores: items out, their results back, in order, few of them in memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
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


class WorkerKilledError(RuntimeError):
    """A worker process ended before its work did: by a signal, or for want of memory."""


class WorkerPool:
    """Worker processes for all the work of a job, one kind after the other; for a `with` statement.

    They start with the first work that is large enough. One worker is this process itself.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._started: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._threads = ThreadPoolExecutor(workers)  # each waits for one worker at a time

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None:
            self._stop()  # nobody waits for the results
        self._threads.shutdown(cancel_futures=True)
        self._stop()

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the result of each item, in order.

        Raises:
            WorkerKilledError: a worker was killed. All other errors are the work's own.
        """
        items = iter(items)
        enough = 2 if self._started else _ITEMS_WORTH_A_START
        first = list(islice(items, enough))
        if self._workers == 1 or len(first) < enough:
            return map(work.build(), chain(first, items))
        return self._map_in_workers(work, chain(first, items))

    def _map_in_workers(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        if not self._started:
            self._start()
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(self._threads.submit(self._do, work, item))
            if len(pending) > self._workers * _ITEMS_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _do(self, work: Work[Item, Result], item: Item) -> Result:
        worker = self._idle.get()  # there are as many as threads
        try:
            return worker.do(work, item)
        finally:
            self._idle.put(worker)

    def _start(self) -> None:
        with _ctrl_c_waits():
            for _ in range(self._workers):
                worker = _Worker()
                self._started.append(worker)
                self._idle.put(worker)

    def _stop(self) -> None:
        for worker in self._started:
            worker.process.terminate()
        for worker in self._started:
            worker.process.join()


class _Worker:
    """A process at the other end of a pipe of its own.

    Those of a `ProcessPoolExecutor` share one pipe for their results. When one of them is killed
    while it writes, the reader waits for the rest of the message forever.
    """

    def __init__(self) -> None:
        # Not "fork": a progress bar has a thread, and a forked thread's locks stay locked.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()  # the process holds the only copy: its end is the end of the pipe

    def do(self, work: Work[Item, Result], item: Item) -> Result:
        try:
            self._pipe.send((work, item))
            result, error, where = self._pipe.recv()
        except (EOFError, OSError) as broken:
            raise WorkerKilledError("a worker process was killed") from broken
        if error is not None:
            raise error from _WorkerTraceback(where)
        done: Result = result
        return done


class _WorkerTraceback(Exception):
    """Where in a worker an error was raised, as text."""


def all_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _serve(pipe: Connection) -> None:
    """Do what comes through the pipe, until the process is stopped."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    built: Any = None
    function: Callable[[Any], Any]
    while True:
        work, item = pipe.recv()
        answer: tuple[Any, Exception | None, str]
        try:
            if work != built:
                function, built = work.build(), work
            answer = function(item), None, ""
        except Exception as error:
            answer = None, error, traceback.format_exc()
        try:
            message = ForkingPickler.dumps(answer)
        except Exception:  # what was raised or made cannot be sent
            said = answer[1] or f"the result of {work}"
            message = ForkingPickler.dumps((None, RuntimeError(str(said)), traceback.format_exc()))
        pipe.send_bytes(message)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the parent was killed: nobody will ever send work or read results


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Hold Ctrl-C back for a moment, and from processes started meanwhile for good.

    A worker that has not come as far as `_serve` would answer it with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
