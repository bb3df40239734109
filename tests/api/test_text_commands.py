"""`tupe predict --text`, `tupe encode` and `tupe fill-mask` say what `TupeModel` says."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tupe_plugin import TupeModel, commands
from tupe_plugin.data.treatment import TextTreatment

from .trained_models import SENTENCES

pytestmark = pytest.mark.slow

ROWS = [sentence.replace("\n", " ") for sentence in SENTENCES]


@pytest.fixture
def models(classifier: TupeModel, masked_lm: TupeModel) -> dict[str, TupeModel]:
    return {"classifier": classifier, "masked_lm": masked_lm}


@pytest.fixture
def tupe(monkeypatch, capsys):
    """Run a command with text on standard input; gives status, output lines and errors."""

    def run(*arguments: Any, text: str = "".join(f"{row}\n" for row in ROWS)) -> tuple:
        stream = io.BytesIO(text.encode("utf-8", "surrogateescape"))
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stream))
        status = commands.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return run


def test_predict(models, tupe, tmp_path: Path, caplog) -> None:
    model = models["classifier"]
    wanted = model.scores(ROWS)
    status, lines, _ = tupe("predict", model.path.parent, "--text", "-", "--cpu")
    assert status == 0
    (warning,) = (line for line in caplog.messages if "empty" in line)
    assert warning.startswith(f"standard input: 1 of {len(ROWS)} lines are empty; each is a row")
    header, *table = [line.split("\t") for line in lines]
    assert header == ["index", "prediction", *(f"probability_{label}" for label in model.labels)]
    assert [row[:2] for row in table] == [
        [str(number), one.label] for number, one in enumerate(model.predict(ROWS))
    ]
    np.testing.assert_allclose(np.array([row[2:] for row in table], float), wanted, atol=1e-5)

    (tmp_path / "text").write_text("".join(f"{row}\n" for row in ROWS), "utf-8")
    output = tmp_path / "made" / "out.jsonl"
    text = ("--text", tmp_path / "text", "--format", "jsonl", "-o", output)
    assert tupe("predict", model.path, *text)[:2] == (0, [])
    values = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    np.testing.assert_allclose([[*v["probabilities"].values()] for v in values], wanted, atol=1e-6)


def test_encode(models, tupe, monkeypatch) -> None:
    model = models["masked_lm"]
    _, lines, _ = tupe("encode", model.path, "--pooling", "cls", "-o", "-")
    found = np.array([line.split("\t") for line in lines], np.float32)
    np.testing.assert_array_equal(found, model.encode(ROWS, pooling="cls").numpy())
    treated = []
    treat = TextTreatment.__call__
    monkeypatch.setattr(
        TextTreatment, "__call__", lambda self, rows: treated.extend(rows) or treat(self, rows)
    )
    _, lines, _ = tupe("encode", model.path, "--pooling", "none", "--format", "jsonl")
    assert treated == ROWS  # once
    for line, features, tokens in zip(
        lines, model.encode(ROWS, pooling=None), model.tokens(ROWS), strict=True
    ):
        value = json.loads(line)
        assert value["tokens"] == tokens
        np.testing.assert_array_equal(np.float32(value["features"]), features.numpy())


def test_fill_mask(models, tupe) -> None:
    model = models["masked_lm"]
    text = "The <mask>'s home.\n<mask>\n"
    wanted = model.fill_mask(text.splitlines(), top=2)
    _, lines, _ = tupe("fill-mask", model.path, "--top", 2, text=text)
    units = [line.split("\t")[:2] for line in lines[1:]]
    assert units == [[str(row), one.unit] for row, found in enumerate(wanted) for one in found]
    _, lines, _ = tupe("fill-mask", model.path, "--top", 2, "--format", "jsonl", text=text)
    assert [json.loads(line)["fillings"][0]["unit"] for line in lines] == [
        w[0].unit for w in wanted
    ]


@pytest.mark.parametrize(
    ("arguments", "text", "status", "message"),
    [
        (["predict", "{classifier}", "--text", "none"], "", 1, "No such file or directory: 'none'"),
        (["predict", "--text", "-"], "a\n", 2, "tupe predict: give one RUN with --text"),
        (["predict", "{classifier}"], "a\n", 2, "tupe predict: give -o DIR, or --text FILE"),
        (["predict", "{classifier}", "--text", "-", "--zip", "z"], "a\n", 2, "not for --text"),
        (["predict", "{classifier}", "-o", "-"], "a\n", 2, "-o - is for --text FILE: give the fol"),
        (
            ["predict", "{classifier}", "-o", "out", "--format", "tsv"],
            "a\n",
            2,
            "--format tsv is for --text FILE",
        ),
        (
            ["predict", "CoLA={classifier}", "--text", "-"],
            "a\n",
            1,
            "CoLA= names the files of -o DIR: give",
        ),
        (["predict", "{masked_lm}", "--text", "-"], "a\n", 1, "predictions need one that was"),
        (
            ["predict", "{classifier}", "--text", "-"],
            "a\nb\tc\n",
            1,
            "line 2 of standard input: it is a pair",
        ),
        (["encode", "{classifier}"], "", 1, "tupe encode: standard input is empty"),
        (["encode", "{classifier}"], "a\tb\tc\n", 1, "line 1 of standard input: 3 columns; give"),
        (
            ["encode", "{classifier}"],
            "a\n\udcff\n",
            1,
            "line 2 of standard input: not UTF-8 text",
        ),
        (["encode", "{classifier}", "--pooling", "none"], "a\n", 1, "none needs --format jsonl"),
        (["encode", "{masked_lm}", "-o", "{masked_lm}"], "a\n", 1, "which is read: give another"),
        (
            ["predict", "{classifier}", "--text", "{masked_lm}", "-o", "{masked_lm}"],
            "",
            1,
            "would replace",
        ),
        (["encode", "nowhere"], "a\n", 1, "tupe encode: no such checkpoint: nowhere"),
        (["fill-mask", "{masked_lm}"], "a\n", 1, "line 1 of standard input: give one sentence"),
        (["fill-mask", "{classifier}"], "<mask>\n", 1, "fills no <mask>"),
    ],
)
def test_mistakes_give_one_clear_line(models, tupe, arguments, text, status, message) -> None:
    paths = {name: model.path for name, model in models.items()}
    found, lines, err = tupe(*(argument.format(**paths) for argument in arguments), text=text)
    assert (found, lines) == (status, [])
    assert message in err
    assert err.count("\n") == 1


def test_an_unknown_argument_is_said_with_the_usage_of_its_command(tupe, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        tupe("encode", "model", "text")
    err = capsys.readouterr().err
    assert err.startswith("usage: tupe encode ")
    assert "tupe encode: error: unrecognized arguments: text" in err


def test_ctrl_c_while_a_command_is_imported_is_one_line(monkeypatch, capsys) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which is put back
    monkeypatch.setattr(commands.importlib, "import_module", interrupt)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        commands.main(["data", "corpus", "text", "out"])
    sys.excepthook(interrupted.type, interrupted.value, interrupted.tb)
    assert capsys.readouterr().err.endswith(": data interrupted\n")
