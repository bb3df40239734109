"""Small records of runs, for tests of what is made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tupe_plugin.compat.metric_direction import Metric
from tupe_plugin.sweep.run_record import FINISHED, RUNNING, RunRecord, Validation

MCC = Metric("mcc", more_is_better=True)
LOSS = Metric("loss", more_is_better=False)

PLAIN = RunRecord(
    key="",
    task="CoLA",
    model="small",
    strategy="plain",
    lr=2e-5,
    seed=1,
    setting={},
    command=("fairseq-train",),
    configuration={},
    versions={"torch": "2.13.0"},
    hardware="2 cores",
    metric=MCC,
    state=RUNNING,
    seconds=60.0,
    updates=30,
)


def a_run(*scores: float, **changes: Any) -> RunRecord:
    """A finished run with a validation for each score; what else is not changed is PLAIN's."""
    metric = changes.get("metric", MCC)
    validations = tuple(
        Validation(10 * n, n, 5.0 * n, {"loss": 1 / n, "f1": score / 2, metric.name: score})
        for n, score in enumerate(scores, start=1)
    )
    run = replace(PLAIN, validations=validations, **{"state": FINISHED, **changes})
    return replace(run, key=f"{run.task}{run.strategy}{run.lr}{run.setting}{run.seed}")
