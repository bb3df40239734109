"""The benchmark measures what it says: a full window, the authors' way beside ours, real memory."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch

from benchmarks import bench_mfac
from benchmarks.bench_mfac import (
    COMPRESSED,
    DAMPING,
    DTYPES,
    WINDOWS,
    bias_terms,
    fits,
    floor,
    full_optimizer,
    main,
    measure,
    parameter,
    parse,
    recursion,
)
from tests.references.mfac import dense_inverse_product
from tupe_plugin.core.saved_window import check_saved_window

SMALL = ["--device", "cpu", "--rounds", "2", "--dims", "1009", "--num-grads", "13"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_window_is_full_and_a_step_is_a_step(dtype: str) -> None:
    param = parameter(1009, "cpu")
    optimizer = full_optimizer([param], 13, window_dtype=DTYPES[dtype])
    window = optimizer.window
    assert window is not None
    assert window.num_filled == 13
    assert window.rows.values.dtype is DTYPES[dtype]
    rows = window.rows.values.double() * window.rows.scales.unsqueeze(1)
    gram = rows @ rows.t()
    # Of length 1 and nearly orthogonal, as the Gram matrix says that was put in.
    assert (gram - window.system.gram).abs().max() < 0.15
    before = param.detach().clone()
    optimizer.step()
    assert window.num_pushed == 14
    assert not torch.equal(param, before)
    floor(window.rows)()  # takes the type as it is


def test_a_compressed_window_is_full_of_valid_rows() -> None:
    optimizer = full_optimizer([parameter(10_007, "cpu")], 13, **COMPRESSED["bfloat16, 1%"])
    optimizer.step()
    assert optimizer.window is not None
    floor(optimizer.window.rows)()
    state = optimizer.window.state_dict()
    assert state["num_pushed"] == 14
    assert min(int(row.count_nonzero()) for block in state["rows"] for row in block) == 41 + 41 + 18
    check_saved_window(state)


def test_the_authors_way_computes_the_same() -> None:
    """With the true Gram matrix: the benchmark's is that of orthogonal rows."""
    param = parameter(101, "cpu")
    optimizer = full_optimizer([param], 7, window_dtype=torch.float64)
    window = optimizer.window
    assert window is not None
    window.rows.values.mul_(window.rows.scales.unsqueeze(1))
    window.rows.scales.fill_(1.0)
    window.system.gram.copy_(window.rows.gram(count=7))
    run = recursion(optimizer)
    kept = [param.grad.double(), *window.rows.values[1:].clone()]  # it begins with slot 0
    expected = dense_inverse_product(kept, kept[0], num_grads=7, damping=DAMPING)
    # It subtracts and divides by damp, which leaves rounding of about eps |g| / damp: 2e-10.
    assert (run() - expected).norm() < 1e-9 * expected.norm()


@pytest.mark.slow
def test_arms_take_turns_and_the_first_round_is_not_told() -> None:
    args = parse([*SMALL, "--rounds", "3"])
    times = measure(1009, 13, ["float32", "bfloat16"], args)
    arms = ["floor float32", "update float32", "recursion", "floor bfloat16", "update bfloat16"]
    assert list(times) == arms
    assert {len(taken) for taken in times.values()} == {3}


def test_only_bias_terms_of_tupe_base_are_trained() -> None:
    with torch.device("meta"):
        params = bias_terms()
    trained = [p for p in params if p.requires_grad]
    assert 90_000 < sum(p.numel() for p in trained) < 130_000
    assert sum(p.numel() for p in params) > 100e6
    assert all((p.grad is not None) == p.requires_grad for p in params)


@pytest.mark.slow
def test_a_window_without_room_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_mfac, "available_bytes", lambda device: 5e9 + 1009 * 13 * 3)
    options = [*SMALL, "--workers", "--large", "--no-bias-terms", "--leave-free", "5"]
    kept = [name for name in WINDOWS if fits(1009, 13, name, parse(options))]
    assert kept == ["bfloat16", "float16", *COMPRESSED]
    assert main(options) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 1,009 |")]
    assert ["left out: no room" in row for row in rows] == [True, False, False, False, False]
    assert len({row.count("|") for row in rows}) == 1


@pytest.mark.slow
def test_it_runs_on_the_cpu() -> None:
    large = ["--large", "10007x13", "--updates", "3"]
    command = [sys.executable, bench_mfac.__file__, *SMALL, "--workers", "2", *large]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith("| 1,009 |")]
    assert len(rows) == len(WINDOWS)
    assert done.stdout.count("| 10,007 | 13 |") == len(COMPRESSED)
    assert "commit" in done.stdout
    for row in rows:
        ratios = [float(x) for x in re.findall(r"(?<=\| )\d+\.\d\d(?= )", row)][1:]
        assert len(ratios) == 6, row
        assert ratios[0] <= ratios[1] <= ratios[2]
        assert ratios[3] <= ratios[4] <= ratios[5]
    workers = [line for line in done.stdout.splitlines() if line.startswith("| 2 |")]
    assert len(workers) == 1
    (biases,) = (line for line in done.stdout.splitlines() if line.startswith("| 103,680 |"))
    # What is promised: M-FAC over the bias terms of tupe_base in less than half a gigabyte.
    window, peak = (float(cell) for cell in biases.split("|")[3:5])
    assert 0.42 == window < peak < 0.5
