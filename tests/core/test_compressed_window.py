"""The compressed window against the compression and the Fisher matrix written out."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor

from tests.core.test_fisher_window import DAMPING, ROUNDING, gradients, relative_error
from tests.references.mfac import dense_inverse_product, largest_by_block
from tupe_plugin.core.compressed_window import CompressedWindow
from tupe_plugin.core.fisher_window import FisherWindow

DIM, BLOCK, DENSITY = 31, 7, 0.4  # four blocks of 7, of which 3 are kept; one of 3, of which 1


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("BLOCK_COLUMNS", BLOCK), ("TILE_BLOCKS", 2), ("CHOICE_BLOCKS", 2)):
        monkeypatch.setattr(f"tupe_plugin.core.sparse_rows.{name}", size)


def window_of(
    num_grads: int = 5, density: float = DENSITY, dtype: torch.dtype = torch.float64
) -> CompressedWindow:
    return CompressedWindow(num_grads, DIM, density=density, damping=DAMPING, dtype=dtype)


def stored_rows(window: CompressedWindow | FisherWindow) -> Tensor:
    """What the window holds, in float64, ``(num_grads, DIM)``."""
    identity = torch.eye(window.rows.values.shape[0], dtype=torch.float64)
    return torch.stack([window.rows.combine(unit).double() for unit in identity])


def test_equals_the_dense_inverse_of_compressed_gradients() -> None:
    window, kept, waiting = window_of(), [], torch.zeros(DIM, dtype=torch.float64)
    for g in gradients(13, DIM):
        c = largest_by_block(waiting + g, density=DENSITY, block=BLOCK)
        waiting = waiting + g - c
        kept = [*kept, c][-5:]
        assert window.push(g)
        torch.testing.assert_close(window.feedback, waiting, rtol=1e-12, atol=1e-12)
        expected = dense_inverse_product(kept, c, num_grads=5, damping=DAMPING)
        assert relative_error(window.newest_inverse_product(), expected) < 1e-10
        expected = dense_inverse_product(kept, g, num_grads=5, damping=DAMPING)
        assert relative_error(window.inverse_product(g), expected) < 1e-10
        assert window.newest_error(window.newest_inverse_product()) < 1e-10


def test_density_1_is_the_whole_window() -> None:
    window, whole = (
        window_of(density=1.0),
        FisherWindow(5, DIM, damping=DAMPING, dtype=torch.float64),
    )
    for g in gradients(13, DIM):
        window.push(g)
        whole.push(g)
        expected = whole.newest_inverse_product()
        assert relative_error(window.newest_inverse_product(), expected) < 1e-10
    assert window.feedback.abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float64, *ROUNDING], ids=str)
def test_what_entered_and_what_waits_add_up_to_all_gradients(dtype: torch.dtype) -> None:
    """Halves too: what rounding takes off an entry waits with the others."""
    window, rows = window_of(19, dtype=dtype), gradients(19, DIM)
    for g in rows:
        window.push(g)
    total = torch.stack(rows).sum(0)
    kept = stored_rows(window).sum(0) + window.feedback
    # A sum and a difference for each gradient, in float64 or float32.
    unit = 2**-53 if dtype is torch.float64 else 2**-24
    assert (kept - total).abs().max() < 2 * 19 * unit * torch.stack(rows).abs().sum(0).max()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 3e38])
def test_gradient_that_is_not_finite_changes_neither_window_nor_feedback(bad: float) -> None:
    """3e38 is finite, and with what waits is not."""
    window, rows = window_of(dtype=torch.float32), gradients(7, DIM)
    for g in rows[:6]:
        window.push(g)
    window.feedback[13] = 1e38
    before = [t.clone() for t in (stored_rows(window), window.feedback, window.window.system.gram)]
    spoilt = rows[6].clone()
    spoilt[13] = bad
    assert not window.push(spoilt)
    after = [stored_rows(window), window.feedback, window.window.system.gram]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert window.window.num_pushed == 6


@pytest.mark.parametrize("saved_density", [DENSITY, 0.15, 0.8, None], ids=str)
@pytest.mark.parametrize("density", [DENSITY, None], ids=str)
def test_another_density_keeps_what_fits(
    saved_density: float | None, density: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The largest entries of the saved gradients, and what waits where both are compressed."""

    def make(density: float | None) -> CompressedWindow | FisherWindow:
        if density is not None:
            return window_of(density=density)
        return FisherWindow(5, DIM, damping=DAMPING, dtype=torch.float64)

    saved, window, rows = make(saved_density), make(density), gradients(8, DIM)
    for g in rows[:7]:
        saved.push(g)
    with caplog.at_level(logging.WARNING):
        window.load_state_dict(saved.state_dict())
    assert bool(caplog.text) == (saved_density != density)
    order = [2, 3, 4, 0, 1]
    kept, waiting = list(stored_rows(saved)[order]), torch.zeros(DIM, dtype=torch.float64)
    if density is not None:
        kept = [largest_by_block(row, density=density, block=BLOCK) for row in kept]
        waiting = getattr(saved, "feedback", waiting)
    newest = waiting + rows[7]
    if density is not None:
        newest = largest_by_block(newest, density=density, block=BLOCK)
    window.push(rows[7])
    expected = dense_inverse_product([*kept[1:], newest], newest, num_grads=5, damping=DAMPING)
    assert relative_error(window.newest_inverse_product(), expected) < 1e-10


@pytest.mark.parametrize("density", [0.02, 0.9])
def test_threads_change_no_bit(density: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks of their true size, the last one short."""
    monkeypatch.undo()
    products, threads = [], torch.get_num_threads()
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            window = CompressedWindow(5, 200_003, density=density, damping=DAMPING)
            for g in gradients(2, 200_003):
                window.push(g)
            products.append(window.newest_inverse_product())
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*products)


def test_state_is_taken_over_bit_for_bit_and_is_a_copy() -> None:
    first, second, rows = (
        window_of(dtype=torch.bfloat16),
        window_of(dtype=torch.bfloat16),
        gradients(9, DIM),
    )
    for g in rows[:8]:
        first.push(g)
    second.load_state_dict(first.state_dict())
    for window in (first, second):
        window.push(rows[8])
    assert torch.equal(first.newest_inverse_product(), second.newest_inverse_product())
    assert torch.equal(first.feedback, second.feedback)
