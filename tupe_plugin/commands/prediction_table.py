"""A model's predictions as a table: index, gold, prediction and each class's probability."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..inference.predictor import Scores


def predictions_of(scores: Scores, labels: Sequence[str], scale: float = 1.0) -> list[str | float]:
    """The most probable class of each row, or its value in the units of the official files.

    Args:
        scores: of all rows.
        labels: names of the classes; none for regression.
        scale: official value / value of the model.
    """
    if not labels:
        return [float(value) * scale for value in scores.outputs[:, 0]]
    return [labels[place] for place in scores.outputs.argmax(axis=1)]


def table_lines(
    scores: Scores,
    labels: Sequence[str],
    indices: Sequence[str],
    predictions: Sequence[str | float],
    scale: float = 1.0,
) -> list[str]:
    """Tab-separated, with a header line."""
    header = ["index", "prediction", *(f"probability_{label}" for label in labels)]
    columns: list[Iterable[str]] = [indices, map(_shown, predictions)]
    if labels:
        columns += [map(_shown, column) for column in scores.outputs.T.tolist()]
    if scores.targets is not None:
        header.insert(1, "gold")
        gold = [
            _shown(labels[int(target)] if labels else float(target) * scale)
            for target in scores.targets
        ]
        columns.insert(1, gold)
    return ["\t".join(header), *map("\t".join, zip(*columns, strict=True))]


def _shown(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
