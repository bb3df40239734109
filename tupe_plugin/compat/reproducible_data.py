"""A run's data depend on its seed alone: not on threads, processes, or where it was resumed."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from typing import Any

from .module_view import ModuleView


class ForkSafeLock:
    """A lock for the threads of one process; a forked child begins with a free one."""

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def seed_numpy_one_thread_at_a_time(data_utils: Any) -> None:
    """Masks, and with them losses and parameters, that differ from run to run.

    Where: fairseq/data/data_utils.py:127: numpy's global generator is seeded, used and put back.
    When: two threads do this at once, as in `--num-workers 0` when a validation takes place in the
    middle of an epoch: the thread that prefetches training batches goes on. A mask can even come
    out different for a sentence and for its targets.
    Fix: one thread at a time.
    """
    original = data_utils.numpy_seed
    lock = ForkSafeLock()

    @functools.wraps(original)
    @contextlib.contextmanager
    def numpy_seed(seed: Any, *more_seeds: Any) -> Iterator[None]:
        with lock, original(seed, *more_seeds):
            yield

    data_utils.numpy_seed = numpy_seed


def start_loaders_anew_in_each_epoch(iterators: Any) -> None:
    """Every epoch masks the same tokens, and a resumed run masks others than an uninterrupted one.

    Where: fairseq/data/iterators.py:499 keeps a DataLoader and its worker processes from one epoch
    to the next; their copies of the data set never learn the number of the epoch.
    When: `--num-workers` of 1 (the default) or more.
    Fix: worker processes live for one epoch. Without them nothing changes.
    Upstream: https://github.com/huggingface/datasets/issues/6673 is the same trap elsewhere
    """
    torch = iterators.torch
    loader = torch.utils.data.DataLoader

    def loader_of_one_epoch(
        *arguments: Any, persistent_workers: bool = False, **options: Any
    ) -> Any:
        return loader(*arguments, **options)

    data = ModuleView(torch.utils.data, DataLoader=loader_of_one_epoch)
    iterators.torch = ModuleView(torch, utils=ModuleView(torch.utils, data=data))
