"""The benchmark of encoding: what it reads, and what it says where it cannot compare."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from benchmarks.bench_encode import dev_sentences, main


def test_sentences_come_from_all_dev_sets(tmp_path: Path) -> None:
    (tmp_path / "CoLA").mkdir()
    rows = "".join(f"x\t1\t\tsentence {number}\n" for number in range(9))
    (tmp_path / "CoLA" / "dev.tsv").write_text(rows, encoding="utf-8")
    (tmp_path / "WNLI").mkdir()
    table = "index\tsentence1\tsentence2\tlabel\n0\tone\ttwo\t1\n"
    (tmp_path / "WNLI" / "dev.tsv").write_text(table, encoding="utf-8")
    assert len(dev_sentences(tmp_path, 100)) == 11
    assert dev_sentences(tmp_path, 3) == ["sentence 0", "sentence 3", "sentence 6"]
    with pytest.raises(SystemExit, match="has no dev set of GLUE"):
        dev_sentences(tmp_path / "CoLA", 3)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install --no-deps sentence-transformers"):
        main(["MODEL", "--glue", "GLUE"])
