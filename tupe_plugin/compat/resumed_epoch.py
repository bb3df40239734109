"""An epoch that is resumed in the middle goes on with the sentences that it has not seen."""

from __future__ import annotations

import functools
import inspect
import itertools
import logging
import math
from typing import Any, NamedTuple

logger = logging.getLogger(__name__)


class RestOfEpoch(NamedTuple):
    """What one resumed epoch trains on, in place of all its batches."""

    epoch: int
    order: list[Any]  # batches of all workers, shuffled
    start: int  # of those, the ones that were used up before
    seen_before: Any  # mask of the sentences that are not in `order` at all, or None


def go_on_with_the_sentences_not_seen(iterators: Any) -> None:
    """A resumed epoch skips some sentences and repeats others, or `dataloader mismatch`.

    Where: fairseq/data/iterators.py:441 counts the batches of one worker, and 456 skips as many.
    When: resumed in mid-epoch with another number of workers, `--batch-size`, `--max-tokens`,
    `--required-batch-size-multiple`, `--seed` or other data.
    Fix: a checkpoint in mid-epoch tells which sentences were seen, and by digests from what data
    and batches. Same batches: on from the next one, however many workers there are. Others: the
    sentences not seen make the rest of the epoch. Other data, or an old checkpoint: one line says
    what is repeated or left out. See docs/decisions/resumed-epochs.md.
    Upstream: https://github.com/facebookresearch/fairseq/issues/3638
    """
    from .sentences_seen import digest_of, fingerprint, left_over, pack, seen_in, unpack

    kind = iterators.EpochBatchIterator
    ordered_batches, state_dict, load_state_dict = (
        kind.ordered_batches,
        kind.state_dict,
        kind.load_state_dict,
    )
    kind.rest_of_epoch = kind.batch_again = None
    kind.same_order_for_all_workers = True

    @functools.wraps(ordered_batches)
    def ordered_or_rest(self: Any, epoch: int, fix_batches_to_gpus: bool, shuffle: bool) -> Any:
        self.same_order_for_all_workers = not (fix_batches_to_gpus and self._supports_prefetch)
        rest = self.rest_of_epoch
        if rest is None or rest.epoch != epoch:
            return ordered_batches(self, epoch, fix_batches_to_gpus, shuffle)
        batches = list(
            iterators.ShardedIterator(
                rest.order[rest.start :], self.num_shards, self.shard_id, fill_value=[]
            )
        )
        if self._supports_prefetch:
            self.dataset.prefetch([index for batch in batches for index in batch])
        return batches

    @functools.wraps(state_dict)
    def state_with_sentences(self: Any) -> dict[str, Any]:
        state = state_dict(self)
        if type(self) is not kind or not self.same_order_for_all_workers:
            return state
        if state["iterations_in_epoch"] > 0:
            order, start, seen_before = _shuffled(iterators, self, self.frozen_batches), 0, None
            if self.rest_of_epoch is not None and self.rest_of_epoch.epoch == self.epoch:
                _, order, start, seen_before = self.rest_of_epoch
            used = min(start + state["iterations_in_epoch"] * self.num_shards, len(order))
            seen = seen_in(order[:used], len(self.dataset))
            state["sentences"] = {
                "data": fingerprint(self.dataset),
                "batches": digest_of(order),
                "batches_used": used,
                "seen": pack(seen if seen_before is None else seen | seen_before),
                "seen_before": None if seen_before is None else pack(seen_before),
            }
        return state

    @functools.wraps(load_state_dict)
    def load_sentences(self: Any, state: dict[str, Any]) -> None:
        self.rest_of_epoch = None
        saved, done = state.get("sentences"), state.get("iterations_in_epoch", 0)
        if type(self) is not kind or done == 0:
            load_state_dict(self, state)
        elif saved is None:
            count_batches(self, state, done)
        elif saved["data"] != fingerprint(self.dataset):
            _say(self, state, "begins anew: its data are not those of the checkpoint")
            self.epoch, self._next_epoch_itr = state["epoch"], None
        else:
            go_on(self, state, saved)

    def count_batches(self: Any, state: dict[str, Any], done: int) -> None:
        if done >= len(self):
            _say(self, state, f"is left: it has {len(self)} batches, the checkpoint made {done}")
            self.epoch, self._next_epoch_itr = state["epoch"] + 1, None
            return
        _say(
            self,
            state,
            f"goes on after {done} batches of a worker; the checkpoint does not tell which "
            "sentences they held, so with other batches or workers some are repeated or left out",
        )
        load_state_dict(self, state)

    def go_on(self: Any, state: dict[str, Any], saved: dict[str, Any]) -> None:
        epoch, shuffle, count = state["epoch"], state.get("shuffle", True), len(self.dataset)
        self.epoch, self.shuffle = epoch, shuffle
        start, seen_before = saved["batches_used"], saved["seen_before"]
        if seen_before is not None:
            seen_before = unpack(seen_before, count)
        order = batches_without(self, seen_before)
        if digest_of(order) != saved["batches"]:
            start, seen_before = 0, unpack(saved["seen"], count)
            order = batches_without(self, seen_before)
            sentences = sum(map(len, order))
            _say(
                self,
                state,
                f"goes on with the {sentences:,} sentences that it has not seen, in {len(order)} "
                "batches: these, or their order, are not those of the checkpoint",
            )
        left = math.ceil((len(order) - start) / self.num_shards)
        if left <= (1 if self.skip_remainder_batch else 0):
            self.epoch, self._next_epoch_itr = epoch + 1, None
        elif seen_before is None and start % self.num_shards == 0:
            load_state_dict(self, {**state, "iterations_in_epoch": start // self.num_shards})
        else:
            self.rest_of_epoch = RestOfEpoch(epoch, order, start, seen_before)
            self._next_epoch_itr = self._get_iterator_for_epoch(epoch, shuffle)

    def batches_without(self: Any, seen: Any) -> list[Any]:
        if seen is None:
            batches = self.frozen_batches
        elif self.batch_again is not None:
            batches = self.batch_again(left_over(self.frozen_batches, seen))
        else:  # a task with its own batches: they become smaller
            batches = [left_over([batch], seen) for batch in self.frozen_batches]
        return _shuffled(iterators, self, [batch for batch in batches if len(batch) > 0])

    kind.ordered_batches = ordered_or_rest
    kind.state_dict = state_with_sentences
    kind.load_state_dict = load_sentences


def _shuffled(iterators: Any, self: Any, batches: Any) -> list[Any]:
    """Batches of all workers in the order in which `ordered_batches` deals them out."""
    batches = list(batches)
    if not self.shuffle:
        return batches
    with iterators.data_utils.numpy_seed(self.seed + self.epoch):
        if not self.grouped_shuffling:
            iterators.np.random.shuffle(batches)
            return batches
        number = self.num_shards
        groups = [
            batches[first : first + number] for first in range(0, len(batches) - number + 1, number)
        ]
        iterators.np.random.shuffle(groups)
        return list(itertools.chain(*groups))


def _say(self: Any, state: dict[str, Any], what: str) -> None:
    if self.shard_id == 0:
        logger.info(f"epoch {state['epoch']} {what}")


def remember_how_batches_are_made(fairseq_task: Any) -> None:
    """The iterator of `go_on_with_the_sentences_not_seen` has batches, and cannot make others.

    Where: fairseq/tasks/fairseq_task.py:297, the only place that knows `--max-tokens` and the like.
    When: an epoch is resumed with other batches.
    Fix: the iterator is given the function that makes them.
    """
    original = fairseq_task.FairseqTask.get_batch_iterator
    signature = inspect.signature(original)
    names = ("max_tokens", "max_sentences", "required_batch_size_multiple")

    @functools.wraps(original)
    def get_batch_iterator(self: Any, dataset: Any, *rest: Any, **options: Any) -> Any:
        iterator = original(self, dataset, *rest, **options)
        bound = signature.bind(self, dataset, *rest, **options)
        bound.apply_defaults()
        iterator.batch_again = functools.partial(
            dataset.batch_by_size, **{name: bound.arguments[name] for name in names}
        )
        return iterator

    fairseq_task.FairseqTask.get_batch_iterator = get_batch_iterator


def load_the_data_of_the_next_epoch(checkpoint_utils: Any) -> None:
    """An epoch of which nothing is left is followed by the next one with the former's data.

    Where: fairseq/checkpoint_utils.py:288 has loaded the data of the checkpoint's epoch.
    When: data in shards (`a:b`), and `go_on_with_the_sentences_not_seen` found no sentence left.
    Fix: the data of the epoch that follows are loaded.
    """
    original = checkpoint_utils.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(cfg: Any, trainer: Any, **options: Any) -> Any:
        extra_state, iterator = original(cfg, trainer, **options)
        saved = (extra_state or {}).get("train_iterator", {}).get("epoch", 1)
        if options.get("disable_iterator_cache") and iterator.epoch == saved + 1:
            iterator = trainer.get_train_iterator(
                epoch=iterator.epoch, load_dataset=True, **options
            )
        return extra_state, iterator

    checkpoint_utils.load_checkpoint = load_checkpoint


def group_all_batches_of_a_resumed_epoch(iterators: Any) -> None:
    """A resumed epoch ends early, or is trained a second time.

    Where: fairseq/data/iterators.py:600: groups of `--update-freq` batches are counted from the
    beginning of the epoch, but made from the place where it is resumed. 519: with
    `--skip-remainder-batch` the batches used up are subtracted twice.
    When: resumed in mid-epoch with another `--update-freq`, or with `--skip-remainder-batch`.
    Fix: the groups that were made, and those that the remaining batches make.
    """
    get_iterator_for_epoch = iterators.EpochBatchIterator._get_iterator_for_epoch

    @functools.wraps(get_iterator_for_epoch)
    def get_iterator(
        self: Any, epoch: int, shuffle: bool, fix_batches_to_gpus: bool = False, offset: int = 0
    ) -> Any:
        if not self.skip_remainder_batch or offset == 0:
            return get_iterator_for_epoch(self, epoch, shuffle, fix_batches_to_gpus, offset)
        self.skip_remainder_batch = False
        try:
            batches = get_iterator_for_epoch(self, epoch, shuffle, fix_batches_to_gpus, offset)
        finally:
            self.skip_remainder_batch = True
        return None if batches is None else batches.take(len(batches) - 1)

    def __init__(
        self: Any, iterable: Any, chunk_size: int, skip_remainder_batch: bool = False
    ) -> None:
        used = getattr(iterable, "n", 0)
        left = len(iterable) - used
        if left < chunk_size:  # an epoch resumed without an update crashes in fairseq_cli/train.py
            skip_remainder_batch = skip_remainder_batch and used == 0
        groups = left // chunk_size if skip_remainder_batch else math.ceil(left / chunk_size)
        made = math.ceil(used / chunk_size)
        iterators.logger.info(f"grouped total_num_itrs = {made + groups}")
        iterators.CountingIterator.__init__(
            self,
            iterators._chunk_iterator(iterable, chunk_size, skip_remainder_batch),
            start=made,
            total=made + groups,
        )
        self.chunk_size = chunk_size
        if skip_remainder_batch:
            iterable.take(used + groups * chunk_size)  # so that the epoch ends with the last group

    iterators.EpochBatchIterator._get_iterator_for_epoch = get_iterator
    iterators.GroupedIterator.__init__ = __init__
