"""`tupe report`: what it finds in folders, old ones too, and what it writes."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.sweep.some_runs import a_run
from tupe_plugin import commands
from tupe_plugin.sweep.fairseq_log import UnreadableLogError
from tupe_plugin.sweep.old_runs import read_old_run

STAMP = "2026-01-01 00:00:00 | INFO | "
EVIL = "<script>alert(1)</script>"


def write_log(folder: Path, *, seed: int, values: list[float], lr: float = 3e-4) -> Path:
    """A `train.log` of before there was run.json."""
    folder.mkdir(parents=True)
    settings = {
        "common": {"seed": seed},
        "optimization": {"lr": [lr]},
        "checkpoint": {
            "best_checkpoint_metric": "mcc",
            "maximize_best_checkpoint_metric": True,
        },
        "model": {"_name": "tupe_tiny"},
        "task": {"data": "glue/CoLA-bin"},
    }
    lines = [f"{STAMP}fairseq_cli.train | {settings}"]
    for number, value in enumerate(values, start=1):
        inner = {"loss": "0.5", "num_updates": f"{10 * number}", "wall": f"{3 * number}"}
        scores = {"valid_mcc": repr(value), "valid_num_updates": str(10 * number)}
        lines.append(f"{STAMP}train_inner | {json.dumps({'epoch': number, **inner})}")
        lines.append(f"{STAMP}valid | {json.dumps({'epoch': number, **scores})}")
    lines.append(f"{STAMP}fairseq_cli.train | done training in {seed}.5 seconds")
    log = folder / "train.log"
    log.write_text("\n".join(lines), encoding="utf-8")
    return log


def write_run(folder: Path, *scores: float, **changes: object) -> None:
    folder.mkdir(parents=True)
    a_run(*scores, **changes).write(folder)


def rows(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_old_logs_become_records(tmp_path: Path) -> None:
    log = write_log(tmp_path / "rdrop" / "CoLA" / "lr3e-4" / "seed2", seed=2, values=[0.25, 0.75])
    log.with_name("peak_memory.txt").write_text("7000000\n")
    run = read_old_run(log, below=tmp_path)
    assert (run.task, run.model, run.strategy, run.lr, run.seed) == (
        *("CoLA", "tupe_tiny", "rdrop", 3e-4, 2),
    )
    assert (run.state, run.seconds, run.peak_memory, run.updates) == ("finished", 2.5, 7000000, 20)
    assert [(v.update, v.epoch, v.seconds) for v in run.validations] == [(10, 1, 3.0), (20, 2, 6.0)]
    assert run.best_scores["mcc"] == 0.75
    assert [point.loss for point in run.train] == [0.5, 0.5]

    log.with_name("peak_memory.txt").write_text("much\n")
    with pytest.raises(UnreadableLogError, match="a number of bytes, not 'much'"):
        read_old_run(log, below=tmp_path)
    log.with_name("peak_memory.txt").unlink()
    log.write_text(log.read_text().replace("done training", ""))
    unfinished = read_old_run(log, below=tmp_path)
    assert (unfinished.state, unfinished.seconds) == ("interrupted", 6.0)
    log.write_text(log.read_text().replace("valid_mcc", "valid_f1"))
    with pytest.raises(UnreadableLogError, match="no mcc of the dev set"):
        read_old_run(log, below=tmp_path)


def test_old_and_new_runs_stand_in_one_table_and_each_seed_counts_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run.json beside a train.log is the one that is read."""
    write_log(tmp_path / "old" / "lr3e-4" / "a", seed=1, values=[0.25])
    write_log(tmp_path / "old" / "lr3e-4" / "b", seed=1, values=[0.75])
    write_log(tmp_path / "new" / "1", seed=1, values=[0.25])
    a_run(0.5).write(tmp_path / "new" / "1")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{}")
    assert commands.main(["report", str(tmp_path), str(tmp_path / "new")]) == 1
    out, err = capsys.readouterr()
    assert [(row[2], row[5], row[6]) for row in rows(out)] == [
        ("plain", "1", "0.5"),
        ("old", "1", "0.25"),
    ]
    damaged, repeated = err.splitlines()
    assert "bad/run.json: format is None" in damaged
    assert f"{tmp_path}/old/lr3e-4/b/train.log has seed 1 and mcc, as {tmp_path}/old" in repeated
    assert damaged.removeprefix("tupe report: ") in out


def test_what_holds_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "runs" / "1", 0.5)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{}")
    file = tmp_path / "runs" / "1" / "run.json"
    for path, line in (
        (tmp_path / "empty", f"no run.json under {tmp_path / 'empty'}, and no train.log"),
        (tmp_path / "other", f"no such folder: {tmp_path / 'other'}"),
        (tmp_path / "bad", f"no run can be read: {tmp_path / 'bad'}/run.json: format is None"),
        (file, f"{file} is a file: give a folder of runs, such as {file.parent}"),
    ):
        assert commands.main(["report", str(path)]) == 1
        assert capsys.readouterr().err.startswith(f"tupe report: {line}")


class Page(HTMLParser):
    """The tags of a page, and what is in its cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.slow
def test_page_is_whole_in_itself_and_runs_nothing(tmp_path: Path) -> None:
    for strategy, lr in (("plain", 2e-5), ("plain", 3e-5), (EVIL, 2e-5), ('$x" onload="y', 2e-5)):
        for seed in (1, 2):
            folder = tmp_path / "runs" / f"{abs(hash(strategy))}{lr}{seed}"
            write_run(folder, 0.3, 0.5 + seed / 10, strategy=strategy, lr=lr, seed=seed)
    write_run(tmp_path / "runs" / "failed", seed=9, state="failed", reason=EVIL, strategy=EVIL)
    outputs = {name: tmp_path / f"report.{name}" for name in ("html", "markdown", "csv")}
    options = [word for name, path in outputs.items() for word in (f"--{name}", str(path))]
    assert commands.main(["report", str(tmp_path / "runs"), *options]) == 0
    text = outputs["html"].read_text(encoding="utf-8")
    page = Page(text)
    assert not page.all("script")
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert EVIL in page.text
    assert f"Not counted: CoLA small {EVIL}, lr 2e-5, seed 9, failed: {EVIL}" in page.text
    assert not re.search(r"(?:src|href)=\"(?!data:)|https?://", text)
    assert {a["scope"] for a in page.all("th")} == {"col", "row"}
    assert len(page.all("caption")) == 1
    pictures = page.all("img")
    assert len(pictures) == 3  # learning curves, spread, rates
    for picture in pictures:
        assert EVIL in str(picture["alt"])
        svg = base64.b64decode(str(picture["src"]).partition("base64,")[2])
        assert not list(ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}script"))
    assert outputs["markdown"].read_text().count("\\<script>") > 1


def test_page_needs_its_libraries_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "jinja2" else name)
    assert commands.main(["report", str(tmp_path / "none"), "--html", str(tmp_path / "x")]) == 1
    assert "--html needs jinja2: pip install 'tupe-plugin[plot]'" in capsys.readouterr().err
