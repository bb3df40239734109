"""The sentences of an epoch that is resumed in the middle, under other settings: each one once."""

from __future__ import annotations

import io
import itertools
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from fairseq.data import FairseqDataset, iterators
from fairseq.tasks.fairseq_task import FairseqTask

SENTENCES = 101


class Sentences(FairseqDataset):
    """Each is its number; their lengths vary."""

    def __init__(self, count: int = SENTENCES):
        self.sizes = np.array([3 + (7 * number) % 11 for number in range(count)])

    def __getitem__(self, index: int) -> int:
        return int(index)

    def __len__(self) -> int:
        return len(self.sizes)

    def collater(self, samples: list[int]) -> list[int]:
        return samples

    def num_tokens(self, index: int) -> int:
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        return self.sizes[indices]

    def ordered_indices(self) -> np.ndarray:
        return np.random.permutation(len(self))  # by --seed, as `masked_lm` does


class Settings(NamedTuple):
    workers: int = 1
    update_freq: int = 1
    batch_size: int | None = 4
    max_tokens: int | None = None
    multiple: int = 1
    seed: int = 1
    grouped: bool = False
    skip_remainder: bool = False
    sentences: int = SENTENCES


class Task(FairseqTask):
    def __init__(self) -> None:
        self.cfg, self.dataset_to_epoch_iter = None, {}


Saved = dict[str, Any]
Update = list[list[int]]
"""The batches of all workers that go into an update."""


def train(
    settings: Settings, saved: Saved | None = None, epoch: int = 1
) -> Iterator[tuple[Update, Saved]]:
    """The rest of an epoch as fairseq_cli/train.py goes through it; a save after each update."""
    workers = []
    for worker in range(settings.workers):
        iterator = Task().get_batch_iterator(
            Sentences(settings.sentences),
            max_tokens=settings.max_tokens,
            max_sentences=settings.batch_size,
            required_batch_size_multiple=settings.multiple,
            seed=settings.seed,
            num_shards=settings.workers,
            shard_id=worker,
            epoch=epoch,
            grouped_shuffling=settings.grouped,
            skip_remainder_batch=settings.skip_remainder,
        )
        if saved is not None:
            iterator.load_state_dict(saved)
        batches = iterator.next_epoch_itr()
        groups = iterators.GroupedIterator(batches, settings.update_freq, settings.skip_remainder)
        workers.append((iterator, groups))
    assert len({len(groups) - groups.n for _, groups in workers}) == 1
    for parts in zip(*(groups for _, groups in workers), strict=True):
        file = io.BytesIO()  # a checkpoint must hold it, and safe loading read it
        torch.save(workers[0][0].state_dict(), file)
        file.seek(0)
        yield list(itertools.chain(*parts)), torch.load(file, weights_only=True)
    assert all(iterator.end_of_epoch() for iterator, _ in workers)


def sentences_of(updates: list[Update]) -> Counter[int]:
    return Counter(number for update in updates for batch in update for number in batch)


def stop(
    settings: Settings, updates: int, saved: Saved | None = None
) -> tuple[list[Update], Saved]:
    steps = list(itertools.islice(train(settings, saved), updates))
    return [update for update, _ in steps], steps[-1][1]


def rest(settings: Settings, saved: Saved) -> list[Update]:
    return [update for update, _ in train(settings, saved, saved["epoch"])]


CHANGES = {
    "more workers": (Settings(workers=1), Settings(workers=3)),
    "fewer workers": (Settings(workers=3), Settings(workers=2)),
    "workers for update-freq": (Settings(workers=2), Settings(update_freq=2)),
    "update-freq 4 to 3": (Settings(update_freq=4), Settings(update_freq=3)),
    "update-freq 3 to 5": (Settings(update_freq=3), Settings(update_freq=5)),
    "smaller batches": (Settings(batch_size=8), Settings(batch_size=3)),
    "greater batches": (Settings(batch_size=3), Settings(batch_size=8, workers=2)),
    "tokens": (Settings(max_tokens=40, batch_size=None), Settings(max_tokens=64, batch_size=None)),
    "multiple": (Settings(max_tokens=40), Settings(max_tokens=40, multiple=8)),
    "seed": (Settings(seed=1), Settings(seed=2)),
    "grouped": (Settings(workers=2), Settings(workers=2, grouped=True)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_sentence_once_whatever_changes(name: str) -> None:
    before, after = CHANGES[name]
    total = len(list(train(before)))
    for stopped_after in {1, total // 2, total - 1}:
        first, saved = stop(before, stopped_after)
        second, saved_again = stop(after, 1, saved)
        for last in (before, after):  # killed a second time
            third = rest(last, saved_again) if saved_again["epoch"] == 1 else []
            seen = sentences_of([*first, *second, *third])
            assert set(seen.values()) == {1}
            # Of grouped batches fairseq leaves incomplete groups out, in each epoch.
            left_out = 2 * after.workers * 4 if after.grouped else 0
            assert SENTENCES - left_out <= len(seen) <= SENTENCES


@pytest.mark.parametrize(
    "settings",
    [Settings(), Settings(workers=3, update_freq=2), Settings(skip_remainder=True, update_freq=3)],
)
def test_unchanged_settings_give_the_updates_of_an_uninterrupted_run(settings: Settings) -> None:
    whole = [update for update, _ in train(settings)]
    changed_first = Settings(batch_size=7)
    _, changed = stop(changed_first, 3)
    changed_whole = rest(settings, changed)
    for stopped_after in range(1, len(whole)):
        first, saved = stop(settings, stopped_after)
        assert first + rest(settings, saved) == whole
    for stopped_after in range(1, len(changed_whole)):  # and of one that was resumed with changes
        first, saved = stop(settings, stopped_after, changed)
        assert first + rest(settings, saved) == changed_whole


def test_one_worker_goes_on_with_the_updates_of_two() -> None:
    whole = [update for update, _ in train(Settings(workers=2))]
    first, saved = stop(Settings(workers=2), 5)
    resumed = rest(Settings(update_freq=2), saved)
    assert first + resumed == [[batch for batch in update if batch] for update in whole]


def test_the_next_epoch_is_whole_again() -> None:
    _, saved = stop(Settings(batch_size=8), 5)
    _, saved = stop(Settings(), 3, saved)
    iterator = Task().get_batch_iterator(Sentences(), max_sentences=4, seed=1, num_shards=1)
    iterator.load_state_dict(saved)
    assert 0 < len(list(iterator.next_epoch_itr())) < len(iterator)
    assert sentences_of([list(iterator.next_epoch_itr())]) == Counter(range(SENTENCES))


@pytest.mark.parametrize(
    ("settings", "drop", "line"),
    [
        (Settings(), (), None),
        (Settings(workers=2), (), None),
        (
            Settings(batch_size=5),
            (),
            "epoch 1 goes on with the 41 sentences that it has not seen, in 9 batches: these, or "
            "their order, are not those of the checkpoint",
        ),
        (
            Settings(sentences=99),
            (),
            "epoch 1 begins anew: its data are not those of the checkpoint",
        ),
        (
            Settings(),
            ("sentences",),
            "epoch 1 goes on after 15 batches of a worker; the checkpoint does not tell which "
            "sentences they held, so with other batches or workers some are repeated or left out",
        ),
        (
            Settings(workers=2),
            ("sentences",),
            "epoch 1 is left: it has 13 batches, the checkpoint made 15",
        ),
    ],
)
def test_what_is_not_exact_is_said(
    settings: Settings, drop: tuple[str, ...], line: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    _, saved = stop(Settings(), 15)
    for name in drop:  # as in a checkpoint from before
        del saved[name]
    with caplog.at_level(logging.INFO):
        resumed = rest(settings, saved)
    assert [m for m in caplog.messages if m.startswith("epoch ")] == ([line] if line else [])
    if line and ("anew" in line or "is left" in line):
        assert sentences_of(resumed) == Counter(range(settings.sentences))
