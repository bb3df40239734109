"""Metrics of a whole dev set from the predictions and targets of all its sentences.

    kind         of                                   metrics
    binary       two classes, one of them positive    accuracy mcc f1 acc_and_f1 macro_f1
    multiclass   any other classes                    accuracy mcc macro_f1
    regression   real-valued targets                  pearson spearman pearson_and_spearman

All are fractions except `accuracy`, which is in percent as everywhere in fairseq. They are the
metrics of GLUE (Wang et al. 2019, table 1), computed by scikit-learn and scipy, unrounded.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from torch import distributed

logger = logging.getLogger(__name__)

BINARY = "binary"
MULTICLASS = "multiclass"
REGRESSION = "regression"

METRIC_NAMES = {
    BINARY: ("accuracy", "mcc", "f1", "acc_and_f1", "macro_f1"),
    MULTICLASS: ("accuracy", "mcc", "macro_f1"),
    REGRESSION: ("pearson", "spearman", "pearson_and_spearman"),
}


def what_is_scored(
    outputs: Any, targets: Any, *, regression: bool, positive: int | None
) -> tuple[Any, Any, str]:
    """Predictions and targets as :func:`whole_set_metrics` takes them, and their kind.

    Args:
        outputs: of the model, ``(sentences, classes)``, an array or a tensor.
        targets: true classes or values, ``(sentences,)``.
        regression: whether they are values.
        positive: the number of the positive class, if one of two is.
    """
    if regression:
        return outputs.reshape(-1), targets, REGRESSION
    classes = outputs.argmax(1)
    if positive is None:
        return classes, targets, MULTICLASS
    return classes == positive, targets == positive, BINARY


def whole_set_metrics(
    predictions: Sequence[float] | np.ndarray,
    targets: Sequence[float] | np.ndarray,
    *,
    kind: str,
) -> dict[str, float]:
    """The metrics of one kind as Python floats.

    A metric that the set leaves undefined is 0.0, with one warning: MCC and F1 are so in
    scikit-learn, and NaN for Pearson or Spearman would spoil the comparison of checkpoints.

    Args:
        predictions: predicted classes or values, ``(sentences,)``; 1 is a binary task's
            positive class.
        targets: true classes or values, ``(sentences,)``.
        kind: `BINARY`, `MULTICLASS` or `REGRESSION`.
    """
    predictions = np.asarray(predictions, dtype=np.float64)
    targets = np.asarray(targets, dtype=np.float64)
    if len(predictions) == 0:
        warn_once("no sentence to score: every metric is logged as 0.0")
        return dict.fromkeys(METRIC_NAMES[kind], 0.0)
    with warnings.catch_warnings():  # undefined values get one warning of ours
        warnings.simplefilter("ignore")
        if kind == REGRESSION:
            return _regression_metrics(predictions, targets)
        return _classification_metrics(predictions.astype(int), targets.astype(int), kind=kind)


def _classification_metrics(
    predictions: np.ndarray, targets: np.ndarray, *, kind: str
) -> dict[str, float]:
    from sklearn.metrics import (  # type: ignore[import-untyped]
        f1_score,
        matthews_corrcoef,
    )

    if np.ptp(predictions) == 0 or np.ptp(targets) == 0:
        warn_once("predictions or targets are all of one class: mcc is undefined, logged as 0.0")
    accuracy = float(np.mean(predictions == targets))
    scores = {
        "accuracy": 100.0 * accuracy,
        "mcc": float(matthews_corrcoef(targets, predictions)),
        "macro_f1": float(f1_score(targets, predictions, average="macro", zero_division=0.0)),
    }
    if kind == BINARY:
        if not np.any((predictions == 1) | (targets == 1)):
            warn_once("no sentence of the positive class: f1 is undefined, logged as 0.0")
        f1 = float(f1_score(targets, predictions, pos_label=1, zero_division=0.0))
        scores.update(f1=f1, acc_and_f1=(accuracy + f1) / 2)
    return scores


def _regression_metrics(predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    from scipy.stats import pearsonr, spearmanr  # type: ignore[import-untyped]

    pearson = spearman = 0.0
    if not (np.isfinite(predictions).all() and np.isfinite(targets).all()):
        warn_once("predictions are not finite: pearson and spearman are logged as 0.0")
    elif np.ptp(predictions) == 0 or np.ptp(targets) == 0:
        warn_once("predictions or targets are all equal: pearson and spearman are logged as 0.0")
    else:
        pearson = float(pearsonr(predictions, targets)[0])
        spearman = float(spearmanr(predictions, targets)[0])
    return {
        "pearson": pearson,
        "spearman": spearman,
        "pearson_and_spearman": (pearson + spearman) / 2,
    }


@cache
def warn_once(message: str) -> None:
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_rank()):
        logger.warning(message)
