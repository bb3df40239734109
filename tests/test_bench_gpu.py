"""What `make gpu` runs, at toy size."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.bench_attention import BASELINE, VARIANTS, Sizes, main, model_of, step_of

WANT_A_GPU = {"flex", "triton"}
TOY = ["--device", "cpu", "--layers", "1", "--width", "64", "--vocab", "99", "--repeats", "1"]


def test_a_row_says_what_a_backend_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TOY, "--lengths", "7", "--batch-size", "2", "--variants", "flex", "sdpa"]) == 0
    refused, measured = [line for line in capsys.readouterr().out.splitlines() if "| 7 |" in line]
    assert "| flex | flex has no gradients on a CPU" in refused
    assert measured.split("|")[5:8] == [" 1.00 "] * 3
    with pytest.raises(SystemExit):
        main([*TOY, "--variants", "explicit"])


def test_the_operations_of_base_are_six_for_each_parameter_and_token() -> None:
    base, tokens = Sizes(12, 768, 30_000), 1000
    parameters = 12 * 12 * 768**2
    assert base.products(tokens, 1) == pytest.approx(6 * parameters * tokens, rel=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in WANT_A_GPU])
def test_every_variant_trains_the_same_kind_of_model(name: str) -> None:
    model = model_of(name, Sizes(2, 64, 99), 7)
    assert model.training
    tokens = torch.randint(4, 99, (2, 7))
    step_of(model, tokens)()
    loss = model(tokens, torch.ones_like(tokens, dtype=torch.bool))
    assert loss.item() == pytest.approx(torch.tensor(99.0).log().item(), rel=0.1)
    encoder = sum(p.numel() for key, p in model.named_parameters() if ".layers." in key)
    assert encoder == pytest.approx(2 * 12 * 64**2, rel=0.1) or name == "BertForMaskedLM"


@pytest.mark.parametrize("toy", [True, False], ids=["toy", "gpu"])
def test_every_part_takes_its_options(toy: bool) -> None:
    """The parts' own tests run them at toy size."""
    for (program, *options), _ in gpu.parts(toy=toy):
        importlib.import_module(f"benchmarks.{program.removesuffix('.py')}").parse(options)


@pytest.mark.slow
def test_the_file_has_what_was_measured_and_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "PARTS", [gpu.PARTS[0], ("nothing.py", "", "", 60)])
    assert gpu.main(["--toy", "--output", str(tmp_path / "gpu.md")]) == 1
    measured, failed = (tmp_path / "gpu.md").read_text("utf-8").split("`python benchmarks/nothing")
    assert measured.count("- hardware: ") == 1
    assert f"| 7 | {BASELINE} |" in measured
    assert "failed:" in failed
    assert "nothing.py" in failed
