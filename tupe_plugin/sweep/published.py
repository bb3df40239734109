"""The papers' figures, from `published.toml`, in the units of fairseq's metrics."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ..data.toml_file import read_toml
from .arms import Question

TABLE = Path(__file__).with_suffix(".toml")
_IN_PERCENT = ("accuracy",)  # all other metrics are fractions here


class Published(NamedTuple):
    """One figure and where it is from."""

    value: float
    model: str
    source: str
    protocol: str


def published_scores(question: Question) -> list[Published]:
    """All figures for a task and metric, of a strategy or a model of this name."""
    names = {_plain(question.strategy), _plain(question.model)}
    metric, task = question.metric.name, question.task
    return [
        Published(
            scores[task] if metric in _IN_PERCENT else scores[task] / 100,
            table["model"],
            table["source"],
            table["protocol"],
        )
        for table in _tables()
        for name, scores in table["scores"].items()
        if _plain(name) in names
        and task in scores
        and metric == table["metrics"].get(task, table["metrics"]["default"])
    ]


@cache
def _tables() -> list[dict[str, Any]]:
    return list(read_toml(TABLE)["tables"])


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
