"""The benchmark measures what it says: every method, one model, a real difference in memory."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import torch

from benchmarks import bench_strategies as bench
from tupe_plugin.core.adversarial_methods import DEFAULTS

SMALL = ["--layers", "1", "--length", "5", "--vocab", "30", "--batch-size", "3", "--device", "cpu"]


def test_every_method_is_measured() -> None:
    measured = {options.get("adv_method") for options in bench.STRATEGIES.values()}
    assert set(DEFAULTS) <= measured
    assert next(iter(bench.STRATEGIES)) == "plain"
    assert set(bench.BAIDU) <= set(bench.STRATEGIES)


@pytest.mark.parametrize("kind", ["sentence_prediction", "masked_lm"])
def test_every_strategy_trains_the_one_model_at_base_width(kind: str, monkeypatch) -> None:
    made = []
    original = bench.make_model
    monkeypatch.setattr(bench, "EMBED", 24)
    monkeypatch.setattr(bench, "FFN", 48)
    monkeypatch.setattr(bench, "make_model", lambda *a: made.append(original(*a)) or made[-1])
    args = bench.parse([*SMALL, "--task", kind, "--padding", "0.3"])
    names = bench.strategies_for(kind)
    assert ("rdrop" in names) == (kind == "sentence_prediction")
    steps = bench.make_steps(names, args)
    assert list(steps) == names
    (model,) = made
    assert model.training
    for name, step in steps.items():
        before = [p.clone() for p in model.parameters()]
        step()
        changed = zip(before, model.parameters(), strict=True)
        assert not all(torch.equal(old, new) for old, new in changed), name
        assert all(p.grad is None for p in model.parameters())


def test_the_size_told_is_that_of_tupe_base() -> None:
    assert (bench.EMBED, bench.FFN, bench.HEADS) == (768, 3072, 12)
    defaults = bench.parse([])
    assert (defaults.layers, defaults.length, defaults.vocab) == (12, 128, 30_000)


def test_rows_tell_ratios_to_the_plain_step(capsys: pytest.CaptureFixture[str]) -> None:
    times = [{"plain": 2.0, "rdrop": 4.0}, {"plain": 2.0, "rdrop": 3.0}, {"plain": 1.0, "rdrop": 3}]
    bench.print_rows(times, {"plain": 100.0, "rdrop": 150.0})
    plain, rdrop = capsys.readouterr().out.splitlines()
    assert plain == "| plain | 2.000 | 1.00 | 1.00 | 1.00 | 100 | 1.00 |  |"
    assert rdrop == "| rdrop | 3.000 | 1.50 | 2.00 | 3.00 | 150 | 1.50 | 1.79 |"
    bench.print_rows(times, None)
    assert "| - | - |" in capsys.readouterr().out


def test_the_sample_has_the_padding_and_masks_asked_for() -> None:
    args = SimpleNamespace(batch_size=40, length=100, padding=0.3, vocab=50, device="cpu")
    sample = bench.make_sample("masked_lm", args)
    words = sample["net_input"]["src_tokens"].ne(bench.PAD)
    assert 1 - words.float().mean().item() == pytest.approx(0.3, abs=0.01)
    masked = sample["target"].ne(bench.PAD)
    assert (masked & ~words).sum() == 0
    assert masked.sum().item() / words.sum().item() == pytest.approx(0.15, abs=0.02)


@pytest.mark.slow
def test_it_runs_on_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    """Wide activations on a small model: two passes that are kept are seen in the memory."""
    options = ["--layers", "2", "--length", "64", "--vocab", "30", "--batch-size", "16"]
    assert bench.main([*options, "--device", "cpu", "--repeats", "1"]) == 0
    printed = capsys.readouterr().out
    assert "commit" in printed
    rows = dict(re.findall(r"^\| ([\w, +]+?) \|.*\| \d+ \| (\d\.\d\d) \|", printed, re.MULTILINE))
    assert list(rows) == list(bench.STRATEGIES)
    assert float(rows["plain"]) == 1
    for name in ("rdrop", "attention, weights", "fgm", "smart"):
        assert 1.2 < float(rows[name]) < 2.5, rows
