"""Whole-set metrics of predictions: those that validation logs, by the same functions."""

from __future__ import annotations

from ..core.class_labels import positive_class
from ..whole_set_metrics import BINARY, MULTICLASS, REGRESSION, whole_set_metrics
from .predict_sentences import Scores


def dev_metrics(scores: Scores, labels: tuple[str, ...]) -> dict[str, float]:
    """Metrics of a split with known targets; no labels means regression."""
    assert scores.targets is not None
    if not labels:
        return whole_set_metrics(scores.outputs[:, 0], scores.targets, kind=REGRESSION)
    classes = scores.outputs.argmax(axis=1)
    positive = positive_class(labels)
    if positive is None:
        return whole_set_metrics(classes, scores.targets, kind=MULTICLASS)
    return whole_set_metrics(classes == positive, scores.targets == positive, kind=BINARY)
