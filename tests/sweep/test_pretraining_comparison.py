"""When a scheme reaches its baseline's last loss, against figures worked out by hand."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tupe_plugin import commands
from tupe_plugin.sweep.pretraining_comparison import (
    compare,
    comparison_columns,
    comparison_notes,
    comparison_pictures,
    curves_as_csv,
)
from tupe_plugin.sweep.report_table import filled, markdown_text
from tupe_plugin.sweep.run_record import RunRecord

from .some_runs import LOSS, a_run


def pretraining(scheme: str, *losses: float, **changes: object) -> RunRecord:
    """Validated every 10 updates and 5 seconds."""
    return a_run(*losses, task="masked-lm", model=scheme, metric=LOSS, **changes)


RUNS = (
    pretraining("tupe-r", 8.0, 5.5, 5.0, 4.0, seed=1),
    pretraining("tupe-r", 6.0, 5.5, 5.0, 4.0, seed=2),
    pretraining("tupe-a", 8.0, 7.0, 6.5, 6.0, seed=1),
    pretraining("tupe-a", 8.0, 7.0, 6.5, 6.5, seed=2),
    pretraining("bert-a", 8.0, 7.0, 6.5, 6.0, seed=1),
    pretraining("bert-a", 8.0, 7.5, 7.0, 6.0, seed=2),
    pretraining("none", 8.0, 8.0, 8.0, 7.5, seed=1),
    pretraining("none", 8.0, 8.0, seed=2, state="interrupted"),
    pretraining("bert-r", 8.0, 6.0, 5.0, 5.0, seed=3),
)


def cells(runs: tuple[RunRecord, ...], **options: str) -> dict[str, list[str]]:
    columns, rows = filled(comparison_columns(**options), compare(runs, **options))
    assert columns[0].title == "scheme"
    return {row[0]: row[1:] for row in rows}


def test_share_is_of_the_baseline_with_the_same_seed() -> None:
    assert cells(RUNS) == {
        # seeds, last loss, minus the baseline's, updates, seconds, s a run, not counted
        "tupe-r": ["2", "4 ± 0", "-2.0 (-2.0 to -2.0)", *["38% (25% to 50%)"] * 2, "60", "-"],
        "tupe-a": [
            "2",
            "6.25 ± 0.35",
            "+0.25 (+0.00 to +0.50)",
            *["100%; never in 1 of 2 seeds"] * 2,
            "60",
            "-",
        ],
        "bert-a": ["2", "6 ± 0", "-", "100%", "100%", "60", "-"],
        "none": ["1", "7.5", "+1.5 (1 seed)", *["never"] * 2, "60", "1 interrupted"],
        "bert-r": ["1", "5", "-", "-", "-", "60", "-"],  # no baseline of seed 3
    }


def test_without_the_baseline_there_is_no_share() -> None:
    assert cells(RUNS[:2])["tupe-r"][2:5] == ["-", "-", "-"]
    assert cells(RUNS, baseline="tupe-a")["bert-a"][3] == "100%"


@pytest.mark.slow
def test_table_says_what_a_share_is_and_pictures_name_every_scheme() -> None:
    results = compare(RUNS)
    text = markdown_text(*filled(comparison_columns(), results), comparison_notes(results))
    assert "30 % of the updates" in text
    by_update, by_second = comparison_pictures(results)
    assert "bert-r 5.000" in by_update.alternative
    drawn = "".join(ElementTree.fromstring(by_second.svg).itertext())
    assert all(scheme in drawn for scheme in ("tupe-r", "none", "seconds"))
    curves = curves_as_csv(results).splitlines()
    assert curves[:2] == ["scheme,seed,update,seconds,loss", "tupe-r,1,10,5.0,8.0"]
    assert len(curves) == 1 + 4 * 8
    assert comparison_pictures(compare([pretraining("none", state="failed")])) == []


@pytest.mark.slow
def test_without_data_the_command_tells_of_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, run in enumerate(RUNS):
        (tmp_path / str(number)).mkdir()
        run.write(tmp_path / str(number))
    page, picture = tmp_path / "page.html", tmp_path / "losses.png"
    files = ["--html", str(page), "--picture", str(picture)]
    assert commands.main(["compare-pretraining", str(tmp_path), *files]) == 0
    table = capsys.readouterr().out
    assert "| tupe-r |" in table
    assert "Not counted: masked-lm none plain, lr 2e-5, seed 2, interrupted" in table
    assert page.read_text(encoding="utf-8").count("<img ") == 2
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("run", "more", "message"),
    [
        (a_run(0.5), [], "{folder} is a run of CoLA and no pre-training: give a folder of its own"),
        (a_run(0.5), ["--data", "absent"], "{folder} is a run of CoLA and no pre-training"),
        (
            *(RUNS[0], ["--baseline", "bert-r"]),
            "--baseline bert-r: no run has such a scheme; there are tupe-r",
        ),
    ],
)
def test_what_cannot_be_compared_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], run: RunRecord, more: list[str], message
) -> None:
    run.write(tmp_path)
    assert commands.main(["compare-pretraining", str(tmp_path), *more]) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"tupe compare-pretraining: {message.format(folder=tmp_path)}")
    assert (out, err.count("\n")) == ("", 1)
