"""The schedule against a table worked out by hand, and counted updates against a naive loop."""

from __future__ import annotations

import math
import random

import pytest

from tupe_plugin.core.learning_rate import (
    count_updates,
    count_warmup_steps,
    warmup_polynomial_lr,
)


def count_updates_naively(batches, update_freq, first_epoch, last_epoch, drop_remainder):
    updates = 0
    for epoch in range(first_epoch, last_epoch + 1):
        accumulated = update_freq[epoch - 1] if epoch <= len(update_freq) else update_freq[-1]
        waiting = 0
        for _ in range(batches):
            waiting += 1
            if waiting == accumulated:
                updates += 1
                waiting = 0
        if waiting and not drop_remainder:
            updates += 1
    return updates


def test_count_equals_the_naive_loop():
    draw = random.Random(0)
    for _ in range(500):
        batches = draw.randint(1, 23)
        update_freq = [draw.randint(1, 7) for _ in range(draw.randint(1, 5))]
        first, last = draw.randint(1, 7), draw.randint(0, 11)
        drop = draw.random() < 0.5
        counted = count_updates(
            batches_per_epoch=batches,
            update_freq=update_freq,
            first_epoch=first,
            last_epoch=last,
            drop_remainder=drop,
        )
        assert counted == count_updates_naively(batches, update_freq, first, last, drop)


def test_last_epoch_before_the_first_makes_no_update():
    for update_freq in ([3], [1, 2, 3, 4, 5]):
        assert (
            count_updates(batches_per_epoch=7, update_freq=update_freq, first_epoch=4, last_epoch=3)
            == 0
        )


@pytest.mark.parametrize("update_freq", [[], [2, 0], [-1]])
def test_impossible_update_freq_is_refused(update_freq):
    with pytest.raises(ValueError, match=r"update_freq must hold numbers >= 1, got \["):
        count_updates(batches_per_epoch=5, update_freq=update_freq, first_epoch=1, last_epoch=2)


@pytest.mark.parametrize(
    ("total", "ratio", "warmup"),
    [
        (100, 0.06, 6),
        (8, 0.06, 0),
        (9, 0.06, 1),
        (1, 0.06, 0),
        (1, 1.0, 1),
        (100, 0.0, 0),
        (100, 1.0, 100),
        (0, 0.06, 0),
        (5, 0.5, 2),
        (7, 0.5, 4),
    ],
)
def test_warmup_is_the_rounded_share(total, ratio, warmup):
    assert count_warmup_steps(total, warmup_ratio=ratio) == warmup


@pytest.mark.parametrize("ratio", [-0.01, 1.01, float("nan")])
def test_ratio_outside_0_to_1_is_refused(ratio):
    with pytest.raises(ValueError, match="warmup_ratio must lie between 0 and 1, got"):
        count_warmup_steps(10, warmup_ratio=ratio)


def test_linear_schedule_by_hand():
    rates = [
        warmup_polynomial_lr(step, peak_lr=8.0, total_steps=6, warmup_steps=2) for step in range(9)
    ]
    assert rates == [0.0, 4.0, 8.0, 6.0, 4.0, 2.0, 0.0, 0.0, 0.0]


def test_power_and_end_by_hand():
    rates = [
        warmup_polynomial_lr(step, peak_lr=10.0, end_lr=2.0, total_steps=4, power=2.0)
        for step in range(6)
    ]
    assert rates == [10.0, 6.5, 4.0, 2.5, 2.0, 2.0]


def test_run_that_is_all_warmup_ends_at_the_peak():
    rates = [
        warmup_polynomial_lr(step, peak_lr=3.0, end_lr=1.0, total_steps=3, warmup_steps=3)
        for step in range(5)
    ]
    assert rates == [0.0, 1.0, 2.0, 3.0, 1.0]


def test_one_update():
    assert warmup_polynomial_lr(0, peak_lr=5.0, total_steps=1) == 5.0
    assert warmup_polynomial_lr(1, peak_lr=5.0, total_steps=1) == 0.0
    assert warmup_polynomial_lr(0, peak_lr=5.0, total_steps=1, warmup_steps=1) == 0.0


def test_no_update_at_all():
    assert warmup_polynomial_lr(0, peak_lr=5.0, end_lr=1.0, total_steps=0) == 1.0


def test_power_0_is_constant_until_the_end():
    rates = [warmup_polynomial_lr(step, peak_lr=5.0, total_steps=3, power=0.0) for step in range(4)]
    assert rates == [5.0, 5.0, 5.0, 0.0]


def test_a_resumed_run_can_ask_for_any_step_first():
    def rate(step: int) -> float:
        return warmup_polynomial_lr(step, peak_lr=2e-5, total_steps=997, warmup_steps=60, power=1.5)

    forwards = [rate(step) for step in range(998)]
    assert forwards == [rate(step) for step in reversed(range(998))][::-1]
    assert max(forwards) == forwards[60] == 2e-5
    assert all(type(value) is float for value in forwards)


@pytest.mark.parametrize(
    ("step", "arguments", "complaint"),
    [
        (-1, {}, "step must not be negative, got -1"),
        (0, {"power": -1.0}, "power must be 0 or more, and finite, got -1.0"),
        (0, {"power": math.nan}, "power must be 0 or more, and finite, got nan"),
        (0, {"end_lr": math.inf}, "peak_lr and end_lr must be finite, got 1.0 and inf"),
        (0, {"warmup_steps": 12}, "between 0 and total_steps=11, got 12"),
        (0, {"warmup_steps": -1}, "between 0 and total_steps=11, got -1"),
    ],
)
def test_impossible_arguments_are_refused(step, arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        warmup_polynomial_lr(step, peak_lr=1.0, total_steps=11, **arguments)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("at", [1, 6, 7, 40])
def test_a_curve_that_is_bent_does_not_jump(power, at):
    """From the same rate: the same curve to the same end, or another one to another end."""
    run = {"peak_lr": 3e-4, "end_lr": 1e-6, "power": power}
    whole = [
        warmup_polynomial_lr(step, total_steps=100, warmup_steps=6, **run) for step in range(101)
    ]
    since = (at, whole[at])
    again = [
        warmup_polynomial_lr(step, total_steps=100, warmup_steps=6, since=since, **run)
        for step in range(at, 101)
    ]
    assert again == pytest.approx(whole[at:], rel=1e-10)
    for total in (at + 1, 60, 250):
        warmup = min(at, round(0.06 * total)) if at >= 6 else round(0.06 * total)
        bent = [
            warmup_polynomial_lr(step, total_steps=total, warmup_steps=warmup, since=since, **run)
            for step in range(at, total + 1)
        ]
        assert (bent[0], bent[-1]) == (pytest.approx(whole[at], rel=1e-10), 1e-6)
        top = max(0, warmup - at)
        assert bent[:top] == sorted(bent[:top])
        assert bent[top:] == sorted(bent[top:], reverse=True)
