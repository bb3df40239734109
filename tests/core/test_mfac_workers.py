"""The window shared out over gloo workers: the same steps, less memory each, one checkpoint."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests.core.test_mfac import SETTINGS, gradients, parameters, train
from tupe_plugin.core.mfac import MFAC

OPTIONS = {**SETTINGS, "momentum": 0.9, "weight_decay": 0.1}
STEPS = 9


def some_repeated(params: list[nn.Parameter]) -> list[list[Tensor]]:
    """Gradients of each step; the fifth comes again, so that products are taken in float64."""
    steps = gradients(params, STEPS)
    return [*steps[:5], steps[4], *steps[6:]]


def worker(rank: int, workers: int, folder: str, settings: dict[str, Any]) -> None:
    """Train, save, and train on; worker 0 leaves what it has in ``folder``."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store_{workers}", rank=rank, world_size=workers
    )
    params = parameters()
    steps = some_repeated(params)
    optimizer = MFAC(params, process_group=dist.group.WORLD, **OPTIONS, **settings)
    if (resume := Path(folder, "resume.pt")).exists():
        loaded = torch.load(resume, weights_only=True)
        optimizer.load_state_dict(loaded["optimizer"])
        with torch.no_grad():
            for p, saved in zip(params, loaded["params"], strict=True):
                p.copy_(saved)
        steps = steps[6:]
    else:
        train(optimizer, steps[:6])
        # A gradient that is not finite is left out by all of them.
        train(optimizer, [[torch.full_like(p, float("nan")) for p in params]])
        optimizer.consolidate_state_dict()
        if rank == 0:
            saved = optimizer.state_dict()["fisher_window"]
            tensors = [*saved["rows"], *(t for t in saved.values() if isinstance(t, torch.Tensor))]
            assert all(tensor.is_contiguous() for tensor in tensors)
            state = {"params": list(params), "optimizer": optimizer.state_dict()}
            torch.save(state, Path(folder, f"state_of_{workers}.pt"))
        steps = steps[6:]
    train(optimizer, steps)
    window = optimizer.window
    assert window is not None
    rows_bytes = window.rows.values.nbytes
    v = torch.arange(28, dtype=torch.float64)
    torch.save(
        {
            "params": [p.detach() for p in params],
            "bytes": rows_bytes,
            "product": window.inverse_product(v),
            "skipped": optimizer.num_skipped,
        },
        Path(folder, f"rank_{rank}_of_{workers}.pt"),
    )
    # Whoever holds the group keeps its threads, and a thread that frees a tensor while the
    # interpreter goes down aborts the process.
    dist.barrier()
    del window, optimizer
    gc.collect()
    dist.destroy_process_group()


def run(workers: int, folder: Path, **settings: Any) -> list[dict]:
    # Forked, because they need not import torch again: that would be most of the time.
    torch.multiprocessing.start_processes(
        worker, (workers, str(folder), settings), nprocs=workers, start_method="fork"
    )
    (folder / f"store_{workers}").unlink(missing_ok=True)
    return [torch.load(folder / f"rank_{r}_of_{workers}.pt") for r in range(workers)]


def alone(**settings: Any) -> tuple[list[nn.Parameter], MFAC]:
    params = parameters()
    optimizer = MFAC(params, **OPTIONS, **settings)
    train(optimizer, some_repeated(params))
    return params, optimizer


@pytest.mark.parametrize(
    ("workers", "density", "dtype"),
    [
        (3, 1.0, torch.bfloat16),  # 28 parameters: 10, 10 and 8
        (3, 0.3, torch.float16),  # in blocks of 8: 16, 12 and none
        pytest.param(2, 1.0, torch.bfloat16, marks=pytest.mark.slow),
        pytest.param(2, 1.0, None, marks=pytest.mark.slow),
        pytest.param(2, 0.3, None, marks=pytest.mark.slow),
        pytest.param(4, 1.0, None, marks=pytest.mark.slow),
        pytest.param(4, 1.0, torch.float16, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_workers_equal_one(
    workers: int,
    density: float,
    dtype: torch.dtype | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tupe_plugin.core.sparse_rows.BLOCK_COLUMNS", 8)
    settings = {"window_dtype": dtype, "density": density}
    params, optimizer = alone(**settings)
    assert optimizer.window is not None
    product = optimizer.window.inverse_product(torch.arange(28, dtype=torch.float64))
    # Sums in another order: float64's rounding, or float32's where the window is narrower.
    tolerance = 1e-10 if dtype is None else 1e-5
    results = run(workers, tmp_path, **settings)
    for result in results:
        for actual, expected in zip(result["params"], params, strict=True):
            torch.testing.assert_close(actual, expected.detach(), rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(result["product"], product, rtol=tolerance, atol=tolerance)
        assert result["skipped"] == 1
        for actual, first in zip(result["params"], results[0]["params"], strict=True):
            assert torch.equal(actual, first)
    assert sum(result["bytes"] for result in results) == optimizer.window.rows.values.nbytes
    block = 1 if density == 1 else 8
    share = -(-28 // (workers * block)) * round(block * density)
    most = share * optimizer.window.rows.values[:, 0].nbytes
    assert max(result["bytes"] for result in results) == most

    # What was saved half-way is the window of one worker, in this process ...
    saved = torch.load(tmp_path / f"state_of_{workers}.pt", weights_only=True)
    resumed = [nn.Parameter(p.detach().clone()) for p in saved["params"]]
    single = MFAC(resumed, **OPTIONS, **settings)
    single.load_state_dict(saved["optimizer"])
    train(single, some_repeated(params)[6:])
    for actual, expected in zip(resumed, params, strict=True):
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "density"), [(2, 1.0), (3, 1.0), (2, 0.3)])
def test_state_of_one_worker_is_shared_out(
    workers: int, density: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tupe_plugin.core.sparse_rows.BLOCK_COLUMNS", 8)
    through, _ = alone(density=density)
    params = parameters()
    optimizer = MFAC(params, **OPTIONS, density=density)
    train(optimizer, some_repeated(params)[:6])
    torch.save(
        {"params": list(params), "optimizer": optimizer.state_dict()}, tmp_path / "resume.pt"
    )
    for result in run(workers, tmp_path, density=density):
        for actual, expected in zip(result["params"], through, strict=True):
            torch.testing.assert_close(actual, expected.detach(), rtol=1e-10, atol=1e-10)


def test_state_that_was_not_brought_together_lacks_the_window(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, optimizer = alone()
    assert optimizer.window is not None
    monkeypatch.setattr(optimizer.window.columns, "num_workers", 2)
    assert optimizer.state_dict()["fisher_window"]["rows"] is None
    assert "call consolidate_state_dict() on all of them" in caplog.text
