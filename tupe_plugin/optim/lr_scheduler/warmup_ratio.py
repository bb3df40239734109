"""``--lr-scheduler warmup_ratio``: warm-up as a share of the run, decay that ends with it.

The equation, and which update has which learning rate, is in ``core/learning_rate.py``. This
adapter finds out how many updates training will make. fairseq never tells a scheduler, so
``compat/trainer_parts.py`` hands it every training iterator; it counts at the start of each epoch.
"""

import logging
from dataclasses import dataclass
from typing import Any, Optional

from fairseq.data.iterators import EpochBatchIterating, EpochBatchIterator
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from omegaconf import II

from ...core.bounds import (
    LEARNING_RATE,
    Anything,
    Each,
    Number,
    Whole,
    check_options,
    option,
)
from ...core.learning_rate import count_updates, count_warmup_steps, warmup_polynomial_lr

logger = logging.getLogger(__name__)

NAME = "warmup_ratio"
_ENDLESS = Anything("0 and below set no limit, and a large number is a long run")


@dataclass
class WarmupRatioConfig(FairseqDataclass):
    warmup_ratio: float = option(
        0.06,
        Number(0, 1),
        "warm the learning rate up linearly over this share of all updates; 0 is no warm-up, 1 "
        "nothing but warm-up",
    )
    power: float = option(
        1.0, Number(0, 100), "exponent of the decay after the warm-up; 1 is linear"
    )
    end_learning_rate: float = option(
        0.0, LEARNING_RATE, "learning rate that is reached with the last update"
    )
    total_num_update: Optional[int] = option(  # noqa: UP045 -- fairseq reads no X | None here
        None,
        Whole(1, 10**9),
        "length of the schedule in updates; by default counted from --max-epoch, --max-update, "
        "--update-freq, the data and the number of workers",
    )
    lr: list[float] = option(II("optimization.lr"), Each(LEARNING_RATE))  # noqa: RUF009
    max_epoch: int = option(II("optimization.max_epoch"), _ENDLESS)
    max_update: int = option(II("optimization.max_update"), _ENDLESS)
    update_freq: list[int] = option(II("optimization.update_freq"), Each(Whole(1, 10**6)))  # noqa: RUF009
    skip_remainder_batch: bool = II("optimization.skip_remainder_batch")


@register_lr_scheduler(NAME, dataclass=WarmupRatioConfig)
class WarmupRatioSchedule(FairseqLRScheduler):
    """Linear warm-up over a share of the run, then polynomial decay until its last update."""

    def __init__(self, cfg: WarmupRatioConfig, optimizer: FairseqOptimizer):
        super().__init__(cfg, optimizer)
        self.check_options(cfg)
        self.total_updates: int | None = None  # not known before the first epoch begins
        self._warmup_updates = 0
        self._since: tuple[int, float] | None = (
            None  # where the total became another, the rate there
        )
        self._train_iterator: EpochBatchIterating | None = None
        self._num_updates = 0
        # Epoch that began last, updates made before it, updates that it was expected to make.
        self._epoch = 0
        self._updates_before_epoch = 0
        self._updates_in_epoch = 0

    @staticmethod
    def check_options(cfg: WarmupRatioConfig) -> None:
        """Refuse what cannot make a schedule.

        Raises:
            ValueError: an option is out of bounds, or the end of the run is unknown.
        """
        check_options(cfg, WarmupRatioConfig)
        if len(cfg.lr) != 1:
            raise ValueError(f"--lr-scheduler {NAME} takes one --lr, got {list(cfg.lr)}")
        if cfg.max_epoch <= 0 and cfg.max_update <= 0 and cfg.total_num_update is None:
            raise ValueError(
                f"--lr-scheduler {NAME} must know where training ends: "
                "set --max-epoch, --max-update or --total-num-update"
            )

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "epoch": self._epoch,
            "updates_before_epoch": self._updates_before_epoch,
            "updates_in_epoch": self._updates_in_epoch,
            "settings": self._settings(),
            "total_updates": self.total_updates,
            "warmup_updates": self._warmup_updates,
            "since": self._since,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        # A checkpoint written under another scheduler has no counts: the resumed epoch is then
        # counted from where it goes on.
        self._epoch = state_dict.get("epoch", 0)
        self._updates_before_epoch = state_dict.get("updates_before_epoch", 0)
        self._updates_in_epoch = state_dict.get("updates_in_epoch", 0)
        # Other settings make another schedule. With the same ones the curve goes on from where it
        # was, also if the updates that remain are other ones than expected.
        if state_dict.get("settings") == self._settings():
            self.total_updates = state_dict["total_updates"]
            self._warmup_updates = state_dict["warmup_updates"]
            self._since = state_dict["since"]

    def _settings(self) -> dict[str, Any]:
        """The options that the user changes in order to change the schedule."""
        names = ("warmup_ratio", "power", "end_learning_rate", "total_num_update")
        settings = {name: getattr(self.cfg, name) for name in (*names, "max_epoch", "max_update")}
        return {"lr": list(self.cfg.lr), **settings}

    @property
    def warmup_updates(self) -> int:
        """Updates over which the rate rises; 0 before the first epoch begins."""
        return self._warmup_updates

    def set_train_iterator(self, train_iterator: EpochBatchIterating) -> None:
        """Take the iterator whose batches the coming epochs will train on."""
        self._train_iterator = train_iterator

    def step_begin_epoch(self, epoch: int) -> float:
        """Count the updates that the run will make; called after the epoch's iterator was made."""
        total = self.cfg.total_num_update or self._count_total_updates(epoch)
        if total != self.total_updates:
            self._set_total(total)
            logger.info(
                "%s: %d updates in all, %d of them warm-up", NAME, total, self._warmup_updates
            )
        return self.step_update(self._num_updates)

    def _set_total(self, total: int) -> None:
        """Bend the curve where it is now, so that it ends after ``total`` updates."""
        warmup = count_warmup_steps(total, warmup_ratio=self.cfg.warmup_ratio)
        if self.total_updates is not None and self._num_updates > 0:
            self._since = (self._num_updates, self._rate(self._num_updates))
            if self._num_updates >= self._warmup_updates:
                warmup = min(warmup, self._num_updates)  # never back to a warm-up
        self.total_updates, self._warmup_updates = total, warmup

    def step_update(self, num_updates: int) -> float:
        """Set the learning rate of the next update after ``num_updates`` of them."""
        self._num_updates = num_updates
        if self.total_updates is not None:
            self.optimizer.set_lr(self._rate(num_updates))
        return self.optimizer.get_lr()

    def _rate(self, num_updates: int) -> float:
        assert self.total_updates is not None
        return warmup_polynomial_lr(
            num_updates,
            peak_lr=self.cfg.lr[0],
            total_steps=self.total_updates,
            warmup_steps=self._warmup_updates,
            end_lr=self.cfg.end_learning_rate,
            power=self.cfg.power,
            since=self._since,
        )

    def _count_total_updates(self, epoch: int) -> int:
        """Value of ``num_updates`` at which training will end, as far as is known now."""
        cfg = self.cfg
        if cfg.max_epoch <= 0:
            return cfg.max_update
        if not isinstance(self._train_iterator, EpochBatchIterator):
            if cfg.max_update > 0:
                return cfg.max_update
            raise ValueError(
                f"--lr-scheduler {NAME} cannot count the batches of "
                f"{type(self._train_iterator).__name__}: set --max-update or --total-num-update"
            )
        # The iterator of this epoch as the train loop holds it: len() is the whole epoch on
        # this worker, n the batches that a resumed run does not see again.
        batches = self._train_iterator._cur_epoch_itr
        accumulated = cfg.update_freq[min(epoch, len(cfg.update_freq)) - 1]
        done = -(-batches.n // accumulated)
        in_epoch = done - (-(len(batches) - batches.n) // accumulated)

        # A run resumed in mid-epoch must find the very total it had, although updates may have
        # been skipped since the epoch began (overflow in --fp16). If the epoch is no longer the
        # one that was saved (more workers, other --update-freq), what remains is what counts.
        if epoch != self._epoch or in_epoch != self._updates_in_epoch or done == 0:
            self._epoch = epoch
            self._updates_before_epoch = self._num_updates - done
            self._updates_in_epoch = in_epoch

        batches_per_epoch = len(batches)
        if cfg.skip_remainder_batch:  # fairseq has cut `batches` for this epoch's update_freq
            batches_per_epoch = len(self._train_iterator) - 1
        elif getattr(self._train_iterator, "rest_of_epoch", None) is not None:
            batches_per_epoch = len(self._train_iterator)  # `batches` are what is left of an epoch
        later = count_updates(
            batches_per_epoch=batches_per_epoch,
            update_freq=cfg.update_freq,
            first_epoch=epoch + 1,
            last_epoch=cfg.max_epoch,
            drop_remainder=cfg.skip_remainder_batch,
        )
        total = self._updates_before_epoch + self._updates_in_epoch + later
        return min(total, cfg.max_update) if cfg.max_update > 0 else total
