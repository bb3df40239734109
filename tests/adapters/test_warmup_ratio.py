"""The scheduler under fairseq's own iterators, stepped in the order of fairseq's trainer.

`tests/end_to_end/test_schedule.py` repeats the main cases with the real trainer.
"""

import io
import itertools
from types import SimpleNamespace

import pytest
import torch
from fairseq.data import FairseqDataset, iterators
from fairseq.optim.lr_scheduler.polynomial_decay_schedule import PolynomialDecayLRSchedule
from fairseq.optim.sgd import SGD
from omegaconf import OmegaConf

from tupe_plugin.compat.trainer_parts import hand_training_data_to_schedulers
from tupe_plugin.optim.lr_scheduler.warmup_ratio import (
    WarmupRatioSchedule,
)

PEAK = 3e-4


class Numbers(FairseqDataset):
    def __init__(self, size):
        self.size = size

    def __getitem__(self, index):
        return index

    def __len__(self):
        return self.size

    def collater(self, samples):
        return samples


class Run:
    """A training run as fairseq_cli/train.py and trainer.py drive a scheduler, without a model."""

    def __init__(self, batches, *, workers=1, worker=0, skip_remainder_batch=False, **options):
        defaults = {"warmup_ratio": 0.06, "power": 1.0, "end_learning_rate": 0.0}
        defaults |= {"total_num_update": None, "lr": [PEAK], "max_epoch": 0, "max_update": 0}
        defaults |= {"update_freq": [1], "skip_remainder_batch": skip_remainder_batch}
        self.cfg = OmegaConf.create(defaults | options)
        self.batches = batches
        self.shard = {"num_shards": workers, "shard_id": worker}
        parameter = torch.nn.Parameter(torch.zeros(1))
        sgd_cfg = OmegaConf.create({"lr": [PEAK], "momentum": 0.0, "weight_decay": 0.0})
        self.optimizer = SGD(sgd_cfg, [parameter])
        self.scheduler = WarmupRatioSchedule(self.cfg, self.optimizer)
        self.scheduler.step_update(0)
        self.num_updates = 0
        self.used = []  # learning rate of each update, in order
        self.epoch_itr = self.new_epoch_iterator(1)

    def new_epoch_iterator(self, epoch):
        batches = self.batches(epoch) if callable(self.batches) else self.batches
        epoch_itr = iterators.EpochBatchIterator(
            dataset=Numbers(batches),
            collate_fn=list,
            batch_sampler=[[i] for i in range(batches)],
            epoch=epoch,
            skip_remainder_batch=self.cfg.skip_remainder_batch,
            **self.shard,
        )
        self.scheduler.set_train_iterator(epoch_itr)
        return epoch_itr

    def save(self):
        return {
            "scheduler": self.scheduler.state_dict(),
            "iterator": self.epoch_itr.state_dict(),
            "num_updates": self.num_updates,
            "lr": self.optimizer.get_lr(),
        }

    def load(self, state):
        self.scheduler.load_state_dict(state["scheduler"])
        self.optimizer.set_lr(state["lr"])
        self.num_updates = state["num_updates"]
        self.scheduler.step_update(self.num_updates)
        self.epoch_itr = self.new_epoch_iterator(state["iterator"]["epoch"])
        self.epoch_itr.load_state_dict(state["iterator"])
        return self

    def train(self, *, stop_after=None, overflows=()):
        """Train to the end, or for `stop_after` steps; returns the state saved then.

        A step whose number, counted from 0, is in `overflows` makes no update.
        """
        steps = itertools.count()
        state = None
        while self.epoch_itr.next_epoch_idx <= (self.cfg.max_epoch or 10**9):
            itr = self.epoch_itr.next_epoch_itr(shuffle=False)
            epoch = self.epoch_itr.epoch
            update_freq = self.cfg.update_freq[min(epoch, len(self.cfg.update_freq)) - 1]
            groups = iterators.GroupedIterator(
                itr, update_freq, skip_remainder_batch=self.cfg.skip_remainder_batch
            )
            self.scheduler.step_begin_epoch(epoch)
            self.scheduler.step_update(self.num_updates)
            for _ in groups:
                step = next(steps)
                if step not in overflows:
                    self.used.append(self.optimizer.get_lr())
                    self.num_updates += 1
                    self.scheduler.step_update(self.num_updates)
                if self.num_updates >= (self.cfg.max_update or 10**9) or step + 1 == stop_after:
                    return self.save()
            state = self.save()
            self.scheduler.step(epoch)
            self.scheduler.step_update(self.num_updates)
            self.epoch_itr = self.new_epoch_iterator(self.epoch_itr.next_epoch_idx)
        return state


CONFIGURATIONS = {
    "one epoch": (7, {"max_epoch": 1}),
    "last batches incomplete": (7, {"max_epoch": 5, "update_freq": [3]}),
    "update-freq list": (11, {"max_epoch": 5, "update_freq": [4, 2, 1]}),
    "update-freq list longer than the run": (11, {"max_epoch": 2, "update_freq": [4, 2, 1]}),
    "second of three workers": (23, {"max_epoch": 3, "workers": 3, "worker": 1}),
    "workers and update-freq": (23, {"max_epoch": 3, "workers": 3, "update_freq": [2, 5]}),
    "max-update comes first": (13, {"max_epoch": 9, "max_update": 31}),
    "max-epoch comes first": (13, {"max_epoch": 2, "max_update": 31}),
    "max-update only": (13, {"max_update": 31}),
    "ratio 0": (7, {"max_epoch": 3, "warmup_ratio": 0.0}),
    "ratio 1": (7, {"max_epoch": 3, "warmup_ratio": 1.0}),
    "warm-up rounds to 0": (7, {"max_epoch": 1, "warmup_ratio": 0.06}),
    "one update": (1, {"max_epoch": 1}),
    "one update, ratio 1": (1, {"max_epoch": 1, "warmup_ratio": 1.0}),
    "remainder skipped": (14, {"max_epoch": 4, "update_freq": [3, 5], "skip_remainder_batch": 1}),
    "power and end": (17, {"max_epoch": 3, "power": 2.0, "end_learning_rate": 1e-5}),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_predicted_total_is_what_training_makes(name):
    batches, options = CONFIGURATIONS[name]
    run = Run(batches, **options)
    run.train()
    assert run.num_updates > 0
    assert run.scheduler.total_updates == run.num_updates


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_rates_equal_fairseqs_polynomial_decay_given_the_counts(name):
    batches, options = CONFIGURATIONS[name]
    run = Run(batches, **options)
    run.train()
    total = run.num_updates
    cfg = OmegaConf.create(
        {
            "lr": [PEAK],
            "warmup_updates": round(total * run.cfg.warmup_ratio),
            "total_num_update": total,
            "end_learning_rate": run.cfg.end_learning_rate,
            "power": run.cfg.power,
            "force_anneal": None,
        }
    )
    upstream = PolynomialDecayLRSchedule(cfg, Run(1, max_epoch=1).optimizer)
    assert run.used == [upstream.step_update(made) for made in range(total)]
    assert run.optimizer.get_lr() == upstream.step_update(total)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_resume_anywhere_gives_the_rates_of_an_uninterrupted_run(name):
    batches, options = CONFIGURATIONS[name]
    whole = Run(batches, **options)
    whole.train()
    for stop_after in range(1, whole.num_updates):
        first = Run(batches, **options)
        state = first.train(stop_after=stop_after)
        second = Run(batches, **options).load(state)
        second.train()
        assert first.used + second.used == whole.used, f"stopped after {stop_after}"


def test_resume_after_an_overflow_in_the_same_epoch():
    options = {"max_epoch": 3, "warmup_ratio": 0.3}
    whole = Run(10, **options)
    whole.train(overflows={1, 3, 12})
    first = Run(10, **options)
    state = first.train(stop_after=6, overflows={1, 3})
    second = Run(10, **options).load(state)
    second.train(overflows={12 - 6})
    assert first.used + second.used == whole.used


def test_updates_skipped_by_overflow_are_taken_off_at_the_next_epoch():
    run = Run(10, max_epoch=3)
    run.train(overflows={0, 5, 11})
    assert run.num_updates == run.scheduler.total_updates == 27
    assert run.optimizer.get_lr() == 0.0


OTHER_UPDATES = {
    "more workers": ({}, {"workers": 2}),
    "fewer workers": ({"workers": 5}, {"workers": 2}),
    "fewer accumulated": ({"update_freq": [4]}, {"update_freq": [1]}),
    "more accumulated": ({"update_freq": [2]}, {"update_freq": [3]}),
    "many at once": ({}, {"update_freq": [9], "workers": 2}),
}


@pytest.mark.parametrize("warmup_ratio", [0.06, 0.5])
@pytest.mark.parametrize("name", OTHER_UPDATES)
def test_rate_never_jumps_when_the_updates_of_an_epoch_become_others(name, warmup_ratio):
    before, after = OTHER_UPDATES[name]
    options = {"max_epoch": 4, "warmup_ratio": warmup_ratio}
    whole = Run(23, **options, **before)
    whole.train()
    for stop_after in range(1, whole.num_updates, 5):
        first = Run(23, **options, **before)
        second = Run(23, **options, **after).load(first.train(stop_after=stop_after))
        expected = second.optimizer.get_lr()
        second.train()
        assert second.scheduler.total_updates == second.num_updates
        assert second.optimizer.get_lr() == 0.0
        if second.used:
            assert second.used[0] == expected
            top = second.used.index(max(second.used))
            assert second.used[: top + 1] == sorted(second.used[: top + 1])
            assert second.used[top:] == sorted(second.used[top:], reverse=True)
            if first.used[-1] < max(first.used):  # the warm-up is over
                assert top == 0


def test_resume_with_more_epochs_stretches_the_schedule():
    first = Run(5, max_epoch=2)
    state = first.train()
    second = Run(5, max_epoch=4).load(state)
    second.train()
    assert second.scheduler.total_updates == second.num_updates == 20


def test_resume_of_a_finished_run_makes_nothing():
    state = Run(5, max_epoch=2).train()
    second = Run(5, max_epoch=2).load(state)
    second.train()
    assert second.num_updates == 10


def test_state_of_another_scheduler_can_be_resumed():
    state = Run(10, max_epoch=3).train(stop_after=14)
    state["scheduler"] = {"best": None}
    second = Run(10, max_epoch=3).load(state)
    second.train()
    assert second.num_updates == second.scheduler.total_updates == 30


def test_epochs_of_different_size_are_counted_anew_each_epoch():
    sizes = [10, 6, 14, 8]
    run = Run(lambda epoch: sizes[min(epoch, 4) - 1], max_epoch=4)
    predicted = []
    begin = run.scheduler.step_begin_epoch
    run.scheduler.step_begin_epoch = lambda epoch: (
        begin(epoch),
        predicted.append(run.scheduler.total_updates),
    )
    run.train()
    assert predicted == [4 * 10, 10 + 3 * 6, 16 + 2 * 14, 30 + 8]
    assert run.num_updates == predicted[-1]
    assert run.optimizer.get_lr() == 0.0
    top = run.used.index(PEAK)
    assert run.used[top:] == sorted(run.used[top:], reverse=True)


def test_explicit_total_overrides_the_count():
    run = Run(10, max_epoch=2, total_num_update=40)
    run.train()
    assert run.num_updates == 20
    assert run.scheduler.total_updates == 40
    assert run.optimizer.get_lr() == pytest.approx(PEAK * (40 - 20) / (40 - 2), rel=1e-12)


def test_rate_before_training_is_the_peak_so_that_stop_min_lr_does_not_end_it_at_once():
    run = Run(10, max_epoch=2)
    assert run.optimizer.get_lr() == PEAK
    run.train(stop_after=1)
    assert run.used == [0.0]


def test_rate_is_a_python_float():
    run = Run(10, max_epoch=2)
    run.train()
    assert {type(rate) for rate in run.used} == {float}
    torch.save(run.scheduler.state_dict(), buffer := io.BytesIO())
    buffer.seek(0)
    assert torch.load(buffer, weights_only=True) == run.scheduler.state_dict()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "must know where training ends: set --max-epoch, --max-update or --total-num-update"),
        ({"max_epoch": 1, "lr": [1e-3, 1e-4]}, r"takes one --lr, got \[0.001, 0.0001\]"),
    ],
)
def test_impossible_options_are_refused_in_one_line(options, complaint):
    with pytest.raises(ValueError, match=complaint) as caught:
        Run(5, **options)
    assert "\n" not in str(caught.value)


def test_uncountable_iterator_needs_max_update():
    run = Run(5, max_epoch=2)
    run.scheduler.set_train_iterator(iterators.EpochBatchIterating())
    with pytest.raises(ValueError, match="EpochBatchIterating: set --max-update"):
        run.scheduler.step_begin_epoch(1)
    run = Run(5, max_epoch=2, max_update=9)
    run.scheduler.set_train_iterator(iterators.EpochBatchIterating())
    run.scheduler.step_begin_epoch(1)
    assert run.scheduler.total_updates == 9


def test_only_this_scheduler_is_handed_the_iterator():
    class TrainerWith:
        def __init__(self, name):
            self.cfg = OmegaConf.create({"lr_scheduler": {"_name": name}})
            self.builds = 0
            self.handed = []

        @property
        def lr_scheduler(self):
            self.builds += 1
            return self

        def set_train_iterator(self, train_iterator):
            self.handed.append(train_iterator)

        def get_train_iterator(self, epoch, load_dataset=True):
            return (epoch, load_dataset)

    hand_training_data_to_schedulers(SimpleNamespace(Trainer=TrainerWith))
    other = TrainerWith("polynomial_decay")
    assert other.get_train_iterator(3, load_dataset=False) == (3, False)
    assert other.builds == 0
    ours = TrainerWith("warmup_ratio")
    assert ours.get_train_iterator(3) == (3, True)
    assert ours.handed == [(3, True)]
