"""Exit status 134 after a run that had finished well."""

from __future__ import annotations

import atexit
import queue
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

LONGEST_WAIT = 10.0  # seconds for a thread to hand over the batch that it is making


def stop_prefetching_at_exit(iterators: Any) -> None:
    """`terminate called without an active exception`, exit status 134, now and then.

    Where: fairseq/data/iterators.py:640, BackgroundConsumer: a daemon thread that prefetches.
    When: the job ends before its epoch does (`--max-update`), and at that moment the thread is
    inside a torch call, which cannot be stopped while the interpreter goes down.
    Fix: at exit the threads are asked to stop, and waited for.
    """
    original = iterators.BackgroundConsumer
    exiting = threading.Event()
    consumers: weakref.WeakSet[Any] = weakref.WeakSet()

    class BackgroundConsumer(original):  # type: ignore[misc, valid-type]
        def __init__(
            self, queue: Any, source: Iterable[Any], max_len: int | None, cuda_device: Any
        ) -> None:
            super().__init__(queue, _Until(exiting, source), max_len, cuda_device)
            consumers.add(self)

    def stop_all() -> None:
        exiting.set()
        deadline = time.monotonic() + LONGEST_WAIT
        for consumer in list(consumers):
            while consumer.is_alive() and time.monotonic() < deadline:
                _make_room(consumer._queue)  # it may be waiting to put a batch into a full queue
                consumer.join(0.05)

    atexit.register(stop_all)
    iterators.BackgroundConsumer = BackgroundConsumer


class _Until:
    """What there is in `source` before the event.

    Not an iterator, which the consumer would keep after its last batch, and in it the loader's
    worker processes. The garbage collector, when it gets to them, closes the queue by which they
    are told to end before it tells them, and torch waits 5 seconds for each.
    """

    def __init__(self, event: threading.Event, source: Iterable[Any]) -> None:
        self._event, self._source = event, source

    def __iter__(self) -> Iterator[Any]:
        for item in self._source:
            if self._event.is_set():
                return
            yield item


def _make_room(batches: queue.Queue[Any]) -> None:
    try:
        batches.get_nowait()
    except queue.Empty:
        pass
