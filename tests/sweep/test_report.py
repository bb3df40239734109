"""What a report says of runs, against figures worked out by hand."""

from __future__ import annotations

import csv
import math
import statistics

import numpy as np
import pytest
import scipy.stats

from tupe_plugin.compat.metric_direction import Metric
from tupe_plugin.sweep.paired_difference import paired_difference
from tupe_plugin.sweep.published import published_scores
from tupe_plugin.sweep.report import Report, UnknownBaselineError, UnknownMetricError, make_report
from tupe_plugin.sweep.report_pictures import pictures_of
from tupe_plugin.sweep.report_table import comma_separated, markdown, table_cells

from .some_runs import LOSS, a_run

NAMES_FOR_ATTACK = ("<script>alert(1)</script>", "a|b", '" onload="alert(1)', "$x_1", "_hidden")


def cells(report: Report, row: int = 0) -> dict[str, str]:
    columns, rows = table_cells(report)
    return dict(zip((column.title for column in columns), rows[row], strict=True))


def test_row_is_median_of_best_and_mean_of_last() -> None:
    best, last = {1: 0.5, 2: 0.7, 5: 0.3}, {1: 0.4, 2: 0.1, 5: 0.3}
    runs = [a_run(0.0, best[seed], last[seed], seed=seed, seconds=seed + 0.5) for seed in best]
    assert cells(make_report(runs)) == {
        "task": "CoLA",
        "model": "small",
        "strategy": "plain",
        "metric": "mcc",
        "rate": "2e-5",
        "seeds": "3",
        "best: median": "0.5",
        "best: mean ± std": f"0.5 ± {statistics.stdev(best.values()):.2g}",
        "last: mean ± std": (
            f"{statistics.mean(last.values()):.4g} ± {statistics.stdev(last.values()):.2g}"
        ),
        "s a run": "3",  # (1.5 + 2.5 + 5.5) / 3 seconds
    }


@pytest.mark.parametrize(("metric", "rate"), [(None, "3e-5"), (LOSS, "2e-5")])
def test_best_rate_is_that_of_the_best_median(metric, rate: str) -> None:
    """And not of the best mean or seed."""
    given = {} if metric is None else {"metric": metric}
    scores = {2e-5: (0.1, 0.4, 0.9), 3e-5: (0.5, 0.6, 0.5)}
    runs = [
        a_run(score, lr=lr, seed=seed, **given)
        for lr, of_seeds in scores.items()
        for seed, score in enumerate(of_seeds)
    ]
    report = make_report(runs)
    assert cells(report)["rate"] == rate
    assert len(report.rows) == 2
    assert "choice on the dev set" in markdown(report)


def test_runs_without_a_score_are_counted_and_named_and_never_averaged() -> None:
    """A rate whose other seeds have diverged does not win by its lucky one."""
    runs = [
        *(a_run(0.5, seed=seed) for seed in (1, 2)),
        a_run(0.9, seed=1, lr=1e-3),
        a_run(0.8, seed=2, lr=1e-3, state="diverged", reason="the loss is nan"),
        a_run(0.7, seed=3, state="running"),
        a_run(seed=1, strategy="rdrop", state="failed", reason="no room"),
    ]
    report = make_report(runs)
    plain, rdrop = cells(report), cells(report, 1)
    assert (plain["rate"], plain["seeds"], plain["best: median"]) == ("2e-5", "2", "0.5")
    assert plain["not counted"] == "1 diverged, 1 running"
    assert (rdrop["seeds"], rdrop["best: median"], rdrop["s a run"]) == ("0", "-", "-")
    assert rdrop["not counted"] == "1 failed"
    text = markdown(report)
    for line in (
        "CoLA small plain, lr 0.001, seed 2, diverged: the loss is nan",
        "CoLA small plain, lr 2e-5, seed 3, running",
        "CoLA small rdrop, lr 2e-5, seed 1, failed: no room",
    ):
        assert f"- Not counted: {line}\n" in text


@pytest.mark.parametrize("extreme", [math.inf, -1e308, 3.4e38])
def test_a_score_without_measure_breaks_neither_table_nor_picture(extreme: float) -> None:
    """float32 has no larger one than the last: a figure, and all else that it stands beside."""
    runs = [a_run(0.25, 0.5, seed=seed) for seed in range(5)]
    runs += [a_run(0.25, extreme, seed=seed, strategy="rdrop") for seed in range(5)]
    report = make_report(runs, also=["f1"])
    markdown(report)
    comma_separated(report)
    pictures = list(pictures_of(report))
    assert len(pictures) == 2
    assert not any("nan" in picture.svg.lower() for picture in pictures)
    assert all(len(cell) < 40 for cell in cells(report, 1).values())


def test_interval_of_the_paired_difference_is_scipys() -> None:
    baseline = {1: 0.50, 2: 0.61, 3: 0.47, 4: 0.58, 5: 0.52, 9: 0.0}
    arm = {seed: score + 0.01 * seed for seed, score in baseline.items() if seed != 9}
    found = paired_difference(arm, baseline)
    assert found is not None
    assert (found.pairs, found.mean) == (5, pytest.approx(0.03))
    expected = scipy.stats.bootstrap(
        ([0.01, 0.02, 0.03, 0.04, 0.05],), np.mean, method="percentile", rng=1
    ).confidence_interval
    assert [found.low, found.high] == pytest.approx([*expected], abs=0.001)  # of the resamples
    assert found == paired_difference(arm, baseline)
    assert paired_difference({1: 0.5}, {2: 0.5}) is None


def test_difference_without_enough_seeds_has_a_range_and_no_interval() -> None:
    def report(seeds: int) -> Report:
        runs = [a_run(0.5 + 0.01 * seed, seed=seed) for seed in range(seeds)]
        runs += [a_run(0.6 + 0.02 * s, seed=s, strategy="rdrop", lr=3e-5) for s in range(seeds)]
        return make_report(runs)

    assert cells(report(3), 1)["difference"] == "+0.110 (+0.100 to +0.120)"
    assert "an interval would mean nothing" in markdown(report(3))
    assert cells(report(5), 1)["difference"].startswith("+0.120 [+0.1")
    assert "an interval would mean nothing" not in markdown(report(5))
    assert cells(report(1), 1)["difference"] == "+0.10 (1 seed)"


def test_baseline_is_a_strategy_or_a_model_of_the_same_task() -> None:
    runs = [
        a_run(0.5, model="bert-a"),
        a_run(0.75, model="tupe-r"),
        a_run(0.25, model="tupe-r", task="RTE"),
    ]
    report = make_report(runs, baseline="bert-a")
    assert [cells(report, row)["difference"] for row in range(3)] == ["-", "+0.25 (1 seed)", "-"]
    nameless = make_report([a_run(0.5, strategy=name) for name in ("x", "y")])
    assert "--baseline names another" in markdown(nameless)
    with pytest.raises(UnknownBaselineError, match=r"--baseline base: .* bert-a, plain, tupe-r"):
        make_report(runs, baseline="base")


def test_published_figures_stand_beside_ours_in_fairseqs_units() -> None:
    runs = [
        a_run(0.6, model="TUPE-R"),
        a_run(70.0, task="MRPC", strategy="m-fac", metric=Metric.called("accuracy")),
        a_run(0.6, task="MRPC", strategy="m-fac", metric=Metric.called("f1")),
    ]
    report = make_report(runs)
    shown = [cells(report, row)["published"] for row in range(3)]
    assert shown == ["0.6356 12 x 768", "72.94 BERT-tiny, 78.87 BERT-mini", "-"]
    assert "12 x 768: TUPE, arXiv 2006.15595" in markdown(report)
    assert published_scores(report.rows[0].arm.question)[0].value == pytest.approx(0.6356)


def test_further_metric_is_taken_where_the_runs_own_was_best() -> None:
    runs = [a_run(0.2, 0.8, 0.6)]
    assert cells(make_report(runs, also=["f1"]))["f1: mean ± std"] == "0.4"
    with pytest.raises(UnknownMetricError, match=r"--also pearson: .* f1, loss, mcc"):
        make_report(runs, also=["pearson"])


def test_peak_memory_is_the_largest_of_the_seeds() -> None:
    runs = [a_run(0.1, seed=seed, peak_memory=seed * 10**6) for seed in (5, 7)]
    assert cells(make_report(runs))["peak MB"] == "7"


def test_csv_has_every_rate_in_full_precision() -> None:
    runs = [a_run(1 / 3, seed=s, lr=lr, strategy='a,"b') for lr in (2e-5, 3e-5) for s in (1, 2)]
    rows = list(csv.DictReader(comma_separated(make_report(runs)).splitlines()))
    assert [(row["lr"], row["chosen"], row["seeds"]) for row in rows] == [
        ("2e-05", "True", "1 2"),
        ("3e-05", "False", "1 2"),
    ]
    assert float(rows[0]["best_mean"]) == 1 / 3
    assert rows[0]["strategy"] == 'a,"b'


def test_names_do_not_break_a_markdown_table() -> None:
    report = make_report([a_run(0.5, strategy=name) for name in NAMES_FOR_ATTACK])
    lines = [line for line in markdown(report).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(NAMES_FOR_ATTACK)
    assert {line.replace("\\|", "").count("|") for line in lines} == {lines[0].count("|")}
    assert "\\<script>" in "".join(lines)
