"""`tupe report`: the table against figures worked out by hand."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from tupe_plugin import commands
from tupe_plugin.commands.report import format_table, read_run
from tupe_plugin.sweep.fairseq_log import UnreadableLogError

STAMP = "2026-01-01 00:00:00 | INFO | "


def write_log(
    folder: Path, *, seed: int, values: list[float], metric: str = "mcc", maximize: bool = True
) -> Path:
    folder.mkdir(parents=True)
    settings = {
        "common": {"seed": seed},
        "checkpoint": {
            "best_checkpoint_metric": metric,
            "maximize_best_checkpoint_metric": maximize,
        },
    }
    lines = [f"{STAMP}fairseq_cli.train | {settings}"]
    for number, value in enumerate(values, start=1):
        scores = {f"valid_{metric}": repr(value), "valid_f1": repr(value / 2)}
        scores["valid_num_updates"] = str(10 * number)
        lines.append(f"{STAMP}valid | {json.dumps({'epoch': number, **scores})}")
    lines.append(f"{STAMP}fairseq_cli.train | done training in {seed}.5 seconds")
    log = folder / "train.log"
    log.write_text("\n".join(lines), encoding="utf-8")
    return log


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_row_is_median_of_best_and_mean_of_last(tmp_path: Path) -> None:
    best = {1: 0.5, 2: 0.7, 5: 0.3}
    last = {1: 0.4, 2: 0.1, 5: 0.3}
    runs = [
        read_run(
            write_log(
                tmp_path / "lr1e-4" / f"seed{seed}", seed=seed, values=[0.0, best[seed], last[seed]]
            )
        )
        for seed in best
    ]
    _, _, row = format_table(runs)
    assert cells(row) == [
        str(tmp_path / "lr1e-4"),
        "mcc",
        "3",
        "0.5",
        f"0.5 ± {statistics.stdev(best.values()):.2g}",
        f"{statistics.mean(last.values()):.4g} ± {statistics.stdev(last.values()):.2g}",
        "3",  # (1.5 + 2.5 + 5.5) / 3 seconds
    ]


def test_metric_to_be_minimised(tmp_path: Path) -> None:
    log = write_log(
        tmp_path / "lr" / "seed1", seed=1, values=[3.0, 1.0, 2.0], metric="loss", maximize=False
    )
    assert read_run(log).best["loss"] == 1.0


def test_further_metric_is_taken_where_the_runs_own_was_best(tmp_path: Path) -> None:
    log = write_log(tmp_path / "lr" / "seed1", seed=1, values=[0.2, 0.8, 0.6])
    *_, row = format_table([read_run(log, also=["f1"])], also=["f1"])
    assert cells(row)[6] == "0.4"


def test_each_metric_of_a_folder_has_a_row(tmp_path: Path) -> None:
    for seed, metric in ((1, "mcc"), (2, "loss"), (3, "mcc")):
        write_log(tmp_path / "lr" / f"seed{seed}", seed=seed, values=[seed / 4], metric=metric)
    runs = [read_run(log) for log in tmp_path.rglob("train.log")]
    rows = [cells(row)[1:4] for row in format_table(runs)[2:]]
    assert rows == [["loss", "1", "0.5"], ["mcc", "2", "0.5"]]


@pytest.mark.parametrize("maximize", [True, False])
def test_of_equal_validations_the_last_counts(tmp_path: Path, maximize: bool) -> None:
    """fairseq overwrites checkpoint_best.pt by an equal one."""
    values = [0.5, 0.5, 0.2 if maximize else 0.8]
    run = read_run(write_log(tmp_path / "lr" / "1", seed=1, values=values, maximize=maximize))
    assert run.best is run.validations[1]


def test_a_seed_counts_once(tmp_path: Path, capsys) -> None:
    for name, seed, value in (("a", 1, 0.25), ("b", 1, 0.75), ("c", 2, 0.25)):
        write_log(tmp_path / "lr" / name, seed=seed, values=[value])
    assert commands.main(["report", str(tmp_path), str(tmp_path / "lr")]) == 1
    out, err = capsys.readouterr()
    assert cells(out.splitlines()[-1])[2:4] == ["2", "0.25"]
    (line,) = err.splitlines()
    assert f"{tmp_path}/lr/b/train.log has seed 1 and mcc, as {tmp_path}/lr/a/train.log" in line


def test_unfinished_run_is_left_out_and_named(tmp_path: Path, capsys) -> None:
    write_log(tmp_path / "lr" / "seed1", seed=1, values=[0.25])
    cut = write_log(tmp_path / "lr" / "seed2", seed=2, values=[0.75])
    cut.write_text(cut.read_text(encoding="utf-8").replace("done training", ""), encoding="utf-8")
    assert commands.main(["report", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert cells(out.splitlines()[-1])[2:4] == ["1", "0.25"]
    assert str(cut) in err
    assert "finished" in err


def test_unknown_metric_is_named(tmp_path: Path) -> None:
    log = write_log(tmp_path / "lr" / "seed1", seed=1, values=[0.2])
    with pytest.raises(UnreadableLogError, match="no pearson"):
        read_run(log, also=["pearson"])


def test_what_holds_no_run_is_named(tmp_path: Path, capsys) -> None:
    log = write_log(tmp_path / "lr" / "seed1", seed=1, values=[0.5])
    (tmp_path / "empty").mkdir()
    for path, line in (
        (
            tmp_path / "empty",
            f"no train.log under {tmp_path / 'empty'}: train with --log-format json "
            "--log-file RUN/train.log",
        ),
        (tmp_path / "other", f"no such folder: {tmp_path / 'other'}"),
        (log, f"{log} is a file: give a folder of runs, such as {log.parent}"),
    ):
        assert commands.main(["report", str(tmp_path / "lr"), str(path)]) == 1
        assert capsys.readouterr().err == f"tupe report: {line}\n"


def test_peak_memory_is_the_largest_of_the_seeds(tmp_path: Path) -> None:
    logs = [
        write_log(tmp_path / "lr1" / f"seed{seed}", seed=seed, values=[0.1]) for seed in (1, 2, 3)
    ]
    assert "peak" not in format_table([read_run(log) for log in logs])[0]
    logs[0].with_name("peak_memory.txt").write_text("7000000\n")
    logs[1].with_name("peak_memory.txt").write_text("5000000\n")
    titles, _, row = format_table([read_run(log) for log in logs])
    assert dict(zip(cells(titles), cells(row), strict=True))["peak MB"] == "7"
    logs[2].with_name("peak_memory.txt").write_text("much\n")
    with pytest.raises(UnreadableLogError, match="a number of bytes, not 'much'"):
        read_run(logs[2])
