"""Learning rate of a training run whose length is known: linear warm-up, polynomial decay.

    W     = round(r T)
    lr(s) = P s / W                                 for 0 <= s <= W   (warm-up; skipped if W = 0)
    lr(s) = E + (P - E) (1 - (s - W) / (T - W))^p   for W <  s <  T   (decay)
    lr(s) = E                                       for s >= T, s > W

s is the number of updates already made: update k of 1..T is made with lr(k - 1), and lr(T) = E
is the value in force when the last update has been made. That is fairseq's and Hugging Face's
convention; with a warm-up the very first update therefore has a learning rate of 0.

If T is found to be another after s' updates, the curve bends there and does not jump: what is left
of the warm-up or of the decay runs from (s', lr(s')) to its end, and a decay stays a decay.

    lr(s) = lr' + (P - lr') (s - s') / (W - s')              for s' <= s <= W   (if s' < W)
    lr(s) = E + (lr' - E) (1 - (s - s') / (T - s'))^p        for s' <= s <  T   (if s' >= W)

Source: BERT (Devlin et al. 2019, appendix A.2) for the shape; TUPE (Ke et al. 2021, section 4)
for a warm-up given as a ratio of the run, 0.06 in fine-tuning.

Deviations: the TUPE authors' code takes W = int(r T), which rounds down, and makes its first update
with P / W instead of 0.

    symbol   name            meaning
    s        step            updates made so far
    T        total_steps     updates that the whole run makes
    W        warmup_steps    updates of the warm-up
    r        warmup_ratio    warm-up as a share of the run, 0 to 1
    P        peak_lr         learning rate at the end of the warm-up
    E        end_lr          learning rate after the last update
    p        power           1 is linear decay
    s', lr'  since           where T became known, and the rate there; at first (0, 0)
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def count_updates(
    *,
    batches_per_epoch: int,
    update_freq: Sequence[int],
    first_epoch: int,
    last_epoch: int,
    drop_remainder: bool = False,
) -> int:
    """Updates made by the epochs ``first_epoch`` to ``last_epoch``, both included (from 1).

    Args:
        batches_per_epoch: batches that one worker sees in an epoch.
        update_freq: batches accumulated for one update, one entry an epoch; the last entry
            serves all epochs after it.
        drop_remainder: whether an epoch's incomplete last group of batches makes no update.

    Returns:
        The number of updates; 0 if ``last_epoch < first_epoch``.

    Raises:
        ValueError: if ``update_freq`` is empty or holds a number below 1.
    """
    if not update_freq or min(update_freq) < 1:
        raise ValueError(f"update_freq must hold numbers >= 1, got {list(update_freq)}")

    def updates_in_epoch(accumulated: int) -> int:
        if drop_remainder:
            return batches_per_epoch // accumulated
        return -(-batches_per_epoch // accumulated)

    listed = update_freq[first_epoch - 1 : last_epoch]
    unlisted = max(0, last_epoch - first_epoch + 1) - len(listed)
    return sum(map(updates_in_epoch, listed)) + unlisted * updates_in_epoch(update_freq[-1])


def count_warmup_steps(total_steps: int, *, warmup_ratio: float) -> int:
    """``round(total_steps * warmup_ratio)``, an exact half to the even number; may be 0.

    Raises:
        ValueError: if ``warmup_ratio`` lies outside 0 to 1.
    """
    if not 0 <= warmup_ratio <= 1:
        raise ValueError(f"warmup_ratio must lie between 0 and 1, got {warmup_ratio}")
    return round(total_steps * warmup_ratio)


def warmup_polynomial_lr(
    step: int,
    *,
    peak_lr: float,
    total_steps: int,
    warmup_steps: int = 0,
    end_lr: float = 0.0,
    power: float = 1.0,
    since: tuple[int, float] | None = None,
) -> float:
    """Learning rate after ``step`` updates, in force for update ``step + 1``.

    Degenerate runs: without warm-up the first update has ``peak_lr``; if the warm-up fills the
    run (``warmup_steps == total_steps``) there is no decay and ``lr(total_steps) == peak_lr``;
    steps beyond the run have ``end_lr``; ``power=0`` holds ``peak_lr`` until the run ends.

    ``since`` is the step at which ``total_steps`` and ``warmup_steps`` became what they are, and
    the rate there; ``step`` is not before it.

    Raises:
        ValueError: if ``step`` or ``power`` is negative, a rate or ``power`` is not finite, or
            ``warmup_steps`` does not lie between 0 and ``total_steps``.
    """
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
    if not 0 <= power < math.inf:
        raise ValueError(f"power must be 0 or more, and finite, got {power}")
    if not (math.isfinite(peak_lr) and math.isfinite(end_lr)):
        raise ValueError(f"peak_lr and end_lr must be finite, got {peak_lr} and {end_lr}")
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(
            f"warmup_steps must lie between 0 and total_steps={total_steps}, got {warmup_steps}"
        )
    first_step, first_lr = (0, 0.0) if since is None else since
    if first_step < warmup_steps and step <= warmup_steps:
        return first_lr + (peak_lr - first_lr) * ((step - first_step) / (warmup_steps - first_step))
    if step >= total_steps:
        return end_lr
    if since is None or first_step < warmup_steps:
        first_step, first_lr = warmup_steps, peak_lr
    remaining = 1 - (step - first_step) / (total_steps - first_step)
    return (first_lr - end_lr) * remaining**power + end_lr


def warmup_share(step: int, *, warmup_steps: int) -> float:
    """s / W, at most 1: how much of the warm-up is over, or of what grows with it; 1 if W = 0.

    Args:
        step: updates made so far.
        warmup_steps: updates of the warm-up.
    """
    return 1.0 if warmup_steps <= 0 else min(1.0, step / warmup_steps)
