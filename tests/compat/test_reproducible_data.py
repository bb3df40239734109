"""Two threads or worker processes that make masks: the seed alone decides what comes out."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from fairseq.data import BaseWrapperDataset, Dictionary, ListDataset, MaskTokensDataset, data_utils
from fairseq.data.iterators import BackgroundConsumer, EpochBatchIterator

from tupe_plugin.compat.reproducible_data import ForkSafeLock


def test_a_thread_waits_until_the_other_has_put_the_generator_back() -> None:
    entered = threading.Event()

    def draw() -> float:
        with data_utils.numpy_seed(2):
            entered.set()
            return np.random.rand()

    with ThreadPoolExecutor(1) as pool:
        with data_utils.numpy_seed(1):
            first = np.random.rand()
            other = pool.submit(draw)
            assert not entered.wait(0.2)
            second = np.random.rand()
        assert other.result() == draw()
    with data_utils.numpy_seed(1):
        assert [first, second] == [np.random.rand(), np.random.rand()]


def test_the_lock_can_be_taken_twice_by_its_thread_and_is_free_in_a_child() -> None:
    lock = ForkSafeLock()
    with lock, lock:
        pass
    with ThreadPoolExecutor(1) as pool:
        lock.__enter__()
        lock._renew()  # what os.register_at_fork calls in the child
        assert pool.submit(lock.__enter__).result(timeout=10) is None


@pytest.fixture
def masked() -> MaskTokensDataset:
    dictionary = Dictionary()
    words = [dictionary.add_symbol(f"word{number}") for number in range(50)]
    mask = dictionary.add_symbol("<mask>")
    blocks = ListDataset([torch.tensor(words[:30]) for _ in range(16)], [30] * 16)
    return MaskTokensDataset(blocks, dictionary, pad_idx=dictionary.pad(), mask_idx=mask, seed=1)


class Batches(BaseWrapperDataset):
    def collater(self, samples: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(samples)


def epochs(masked: MaskTokensDataset, num_workers: int, first: int, last: int) -> Iterator[object]:
    """The masked blocks of each epoch; `first` is that at which a job starts, or is resumed."""
    batches = EpochBatchIterator(
        Batches(masked),
        torch.stack,
        [[2 * number, 2 * number + 1] for number in range(8)],
        num_workers=num_workers,
        epoch=first,
        buffer_size=10,
        reuse_dataloader=True,  # as fairseq's tasks ask
    )
    for _ in range(first, last + 1):
        yield torch.cat(list(batches.next_epoch_itr(shuffle=False))).tolist()
        for thread in threading.enumerate():
            if isinstance(thread, BackgroundConsumer):
                thread.join(10)
        # While its iterator is still there. If workers are left to the garbage collector, torch
        # waits 5 seconds for each.
        assert multiprocessing.active_children() == []


def test_every_epoch_masks_anew_with_any_number_of_workers(masked: MaskTokensDataset) -> None:
    without_workers = list(epochs(masked, 0, 1, 3))
    assert without_workers[0] != without_workers[1] != without_workers[2]
    assert list(epochs(masked, 1, 1, 3)) == without_workers
    assert list(epochs(masked, 1, 3, 3)) == without_workers[2:]
