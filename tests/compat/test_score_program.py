"""`fairseq-score` has more than one kind of BLEU."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import sacrebleu
from fairseq_cli import score

SYSTEM = ("the cat sat on a mat\n", "it rains\n")
REFERENCE = ("the cat sat on the mat\n", "it rains\n")


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    for name, lines in (("system", SYSTEM), ("reference", REFERENCE)):
        Path(name).write_text("".join(lines))
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(SYSTEM)))

    def run(*options: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["fairseq-score", "--ref", "reference", *options])
        score.cli_main()
        return capsys.readouterr().out.splitlines()[1:]

    return run


@pytest.mark.parametrize("system", [["--sys", "system"], []], ids=["file", "standard input"])
def test_lines_are_scored_by_sacrebleu(system: list[str], printed) -> None:
    stripped = [[line.strip() for line in lines] for lines in (SYSTEM, REFERENCE)]
    expected = sacrebleu.corpus_bleu(stripped[0], [stripped[1]]).format()
    assert printed(*system, "--sacrebleu") == [expected]


def test_each_sentence_has_a_score(printed) -> None:
    first, second = printed("--sys", "system", "--sentence-bleu")
    assert first.startswith("0 BLEU4 = 63.89, 83.3/66.7/60.0/50.0")  # 5/6, (3 + 1)/(5 + 1) ...
    assert second.startswith("1 BLEU4 = 100.00")
    (whole,) = printed("--sys", "system")
    assert whole.startswith("BLEU4 = 55.84, 87.5/66.7/50.0/33.3")  # 7/8, 4/6 ...
