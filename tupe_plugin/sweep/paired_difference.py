"""How far an arm is above its baseline, over the seeds that both have.

A seed decides the same draws in both arms (the start of the head, the order of the data), so its
two scores are a pair, and what varies between seeds alone falls out of their difference:

    d_s = score of the arm with seed s - score of the baseline with seed s

`low` and `high` are the percentile bootstrap's 95 % interval of the mean of d_s (Efron and
Tibshirani 1993, chapter 13), the draws being seeded.  From fewer than five pairs no interval is
made: of three, one resample in 27 is nothing but the smallest difference, so that "95 %" would be
the range of the three and no more.  There `low` and `high` are that range, under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

FEWEST_PAIRS = 5
RESAMPLES = 9_999
CONFIDENCE = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """Arm minus baseline, in the metric's own direction: above 0 is better only where more is."""

    pairs: int
    mean: float
    low: float
    high: float

    @property
    def is_interval(self) -> bool:
        """Whether `low` and `high` are a confidence interval, and not the range of the pairs."""
        return self.pairs >= FEWEST_PAIRS


def paired_difference(
    arm: Mapping[int, float], baseline: Mapping[int, float]
) -> PairedDifference | None:
    """Of scores by seed; None where the two have no seed in common."""
    differences = np.array([arm[seed] - baseline[seed] for seed in sorted(arm.keys() & baseline)])
    pairs = len(differences)
    if not pairs:
        return None
    low, high = differences.min(), differences.max()
    if pairs >= FEWEST_PAIRS:
        drawn = np.random.default_rng(0).integers(pairs, size=(RESAMPLES, pairs))
        outside = (1 - CONFIDENCE) / 2
        low, high = np.quantile(differences[drawn].mean(axis=1), [outside, 1 - outside])
    return PairedDifference(pairs, float(differences.mean()), float(low), float(high))
