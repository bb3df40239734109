"""Whether more or less of a metric is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LOSSES = ("loss", "divergence", "ppl")
"""How a metric ends of which less is better.  Of those of `whole_set_metrics.py` more is."""


@dataclass(frozen=True)
class Metric:
    """What models are compared by."""

    name: str
    more_is_better: bool

    @classmethod
    def called(cls, name: str) -> Metric:
        """More is better, but of losses."""
        return cls(name, not name.endswith(LOSSES))

    @classmethod
    def of_job(cls, checkpoint: Any) -> Metric:
        """What a job chooses its best checkpoint by, as the options of that part say."""
        return cls(
            str(checkpoint.best_checkpoint_metric), bool(checkpoint.maximize_best_checkpoint_metric)
        )

    def goodness(self, value: float) -> float:
        """The value, turned so that more is better; a goodness is turned back."""
        return value if self.more_is_better else -value
