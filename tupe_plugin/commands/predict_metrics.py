"""Whole-set metrics of predictions: those that validation logs, by the same functions."""

from __future__ import annotations

from .predict_sentences import Scores


def dev_metrics(scores: Scores, labels: tuple[str, ...]) -> dict[str, float]:
    """Metrics of a split with known targets; no labels means regression."""
    from ..criterions._whole_set_criterion import POSITIVE_LABELS
    from ..criterions._whole_set_metrics import BINARY, MULTICLASS, REGRESSION, whole_set_metrics

    assert scores.targets is not None
    if not labels:
        return whole_set_metrics(scores.outputs[:, 0], scores.targets, kind=REGRESSION)
    classes = scores.outputs.argmax(axis=1)
    positive = [place for place, label in enumerate(labels) if label.lower() in POSITIVE_LABELS]
    if len(labels) == 2 and len(positive) == 1:
        return whole_set_metrics(classes == positive[0], scores.targets == positive[0], kind=BINARY)
    return whole_set_metrics(classes, scores.targets, kind=MULTICLASS)
