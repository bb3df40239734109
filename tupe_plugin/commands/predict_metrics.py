"""Whole-set metrics of predictions: those that validation logs, by the same functions."""

from __future__ import annotations

from ..core.class_labels import positive_class
from ..inference.predictor import Scores
from ..whole_set_metrics import what_is_scored, whole_set_metrics


def dev_metrics(scores: Scores, labels: tuple[str, ...]) -> dict[str, float]:
    """Metrics of a split with known targets; no labels means regression."""
    assert scores.targets is not None
    predictions, targets, kind = what_is_scored(
        scores.outputs,
        scores.targets,
        regression=not labels,
        positive=positive_class(labels),
    )
    return whole_set_metrics(predictions, targets, kind=kind)
