"""The window against the Fisher matrix written out, and in the limits where the answer is known."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from torch import Tensor

from tests.references.mfac import dense_inverse_product, recursive_inverse_product
from tupe_plugin.core import step_rounding
from tupe_plugin.core.damped_gram import DampedGram
from tupe_plugin.core.fisher_window import FisherWindow
from tupe_plugin.core.gradient_rows import GradientRows, largest_magnitude, split_into_halves
from tupe_plugin.core.sparse_rows import SparseRows

DAMPING = 1e-3
# At most twice what rounding the gradients themselves changes: 2^-8, 2^-11 and 2^-24 a number.
ROUNDING = {torch.float32: 2**-24, torch.bfloat16: 2**-8, torch.float16: 2**-11}


def gradients(count: int, dim: int, *, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(count, dim, dtype=torch.float64, generator=generator))


def float64_window(num_grads: int, dim: int) -> FisherWindow:
    return FisherWindow(num_grads, dim, damping=DAMPING, dtype=torch.float64)


def relative_error(actual: Tensor, expected: Tensor) -> float:
    return float((actual.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    ("num_grads", "dim"),
    [(13, 29), (29, 13), (1, 7), (2, 1)],
    ids=["wide", "more_gradients_than_parameters", "one_gradient", "one_parameter"],
)
def test_equals_dense_inverse_while_filling_and_after(num_grads: int, dim: int) -> None:
    window, pushed = float64_window(num_grads, dim), []
    for g in gradients(2 * num_grads + 3, dim):
        pushed.append(g)
        kept = pushed[-num_grads:]
        assert window.push(g)
        expected = dense_inverse_product(kept, g, num_grads=num_grads, damping=DAMPING)
        assert relative_error(window.newest_inverse_product(), expected) < 1e-10

        v = torch.randn(dim, dtype=torch.float64)
        expected = dense_inverse_product(kept, v, num_grads=num_grads, damping=DAMPING)
        assert relative_error(window.inverse_product(v), expected) < 1e-10


def test_equals_the_papers_recursion() -> None:
    window, rows = float64_window(7, 11), gradients(7, 11)
    for g in rows:
        window.push(g)
    expected = recursive_inverse_product(rows, rows[-1], num_grads=7, damping=DAMPING)
    assert relative_error(window.newest_inverse_product(), expected) < 1e-10


def test_first_gradient() -> None:
    """u = m g / (|g|^2 + m damp)."""
    (g,) = gradients(1, 17)
    window = float64_window(5, 17)
    window.push(g)
    torch.testing.assert_close(
        window.newest_inverse_product(), 5 * g / (g.dot(g) + 5 * DAMPING), rtol=1e-12, atol=0
    )


def test_without_damping_a_step_is_orthogonal_to_the_other_gradients() -> None:
    """g . u = m for the newest one, as long as damping is small beside |g|^2/m."""
    window, rows = FisherWindow(7, 29, damping=1e-9, dtype=torch.float64), gradients(11, 29)
    for pushed, g in enumerate(rows, start=1):
        window.push(g)
        products = torch.stack(rows[max(0, pushed - 7) : pushed]) @ window.newest_inverse_product()
        expected = torch.zeros_like(products)
        expected[-1] = 7
        torch.testing.assert_close(products, expected, rtol=0, atol=1e-7)


def test_empty_window_divides_by_damping() -> None:
    (v,) = gradients(1, 17)
    torch.testing.assert_close(float64_window(5, 17).inverse_product(v), v / DAMPING)


def test_newest_product_needs_a_push() -> None:
    with pytest.raises(RuntimeError, match="push"):
        float64_window(5, 17).newest_inverse_product()


def test_more_than_1024_gradients_and_no_multiple_of_32() -> None:
    num_grads, dim = 1031, 37
    window, rows = float64_window(num_grads, dim), gradients(num_grads + 11, dim)
    # Filled at once: each push costs a pass over the m x m system.
    window.rows.values.copy_(torch.stack(rows[:num_grads]))
    window.system.replace(window.rows.gram(count=num_grads))
    window.num_pushed = num_grads
    for g in rows[num_grads:]:
        window.push(g)
    expected = dense_inverse_product(
        rows[-num_grads:], rows[-1], num_grads=num_grads, damping=DAMPING
    )
    assert relative_error(window.newest_inverse_product(), expected) < 1e-10


@pytest.mark.parametrize("size", [1e-30, 1e-6, 1.0, 1e6])
def test_gradients_of_any_size(size: float) -> None:
    """Small ones meet the damping alone, large ones the limit of no damping."""
    window, rows = float64_window(3, 17), [size * g for g in gradients(3, 17)]
    for g in rows:
        window.push(g)
    gram = torch.stack(rows) @ torch.stack(rows).t()
    unit = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    x = torch.linalg.solve(gram + 3 * DAMPING * torch.eye(3, dtype=torch.float64), unit)
    expected = 3 * torch.stack(rows).t() @ x
    assert relative_error(window.newest_inverse_product(), expected) < 1e-10


@pytest.mark.parametrize("dtype", list(ROUNDING), ids=str)
@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_rounded_window_is_exact_for_the_rounded_gradients(dtype: torch.dtype, size: float) -> None:
    """Damping goes with the gradients' size here, so that all sizes are one problem."""
    num_grads, dim, damping = 11, 131, DAMPING * size**2
    window = FisherWindow(num_grads, dim, damping=damping, dtype=dtype)
    exact = [size * g for g in gradients(num_grads + 2, dim)]
    for g in exact:
        window.push(g)
    stored = [
        row * s for row, s in zip(window.rows.values.double(), window.rows.scales, strict=True)
    ]
    newest = stored[(len(exact) - 1) % num_grads]
    assert relative_error(newest, exact[-1]) < ROUNDING[dtype]
    expected = dense_inverse_product(stored, newest, num_grads=num_grads, damping=damping)
    # Nothing but float32's own rounding of sums over 131 numbers is left.
    assert relative_error(window.newest_inverse_product(), expected) < 20 * 2**-24


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_gradient_that_is_not_finite_changes_nothing(bad: float, dtype: torch.dtype) -> None:
    window, rows = FisherWindow(3, 17, damping=DAMPING, dtype=dtype), gradients(6, 17)
    for g in rows[:5]:
        window.push(g)
    before = [window.rows.values.clone(), window.system.gram.clone(), window.system.inverse.clone()]
    spoilt = rows[5].clone()
    spoilt[4] = bad
    assert not window.push(spoilt)
    after = [window.rows.values, window.system.gram, window.system.inverse]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert window.num_pushed == 5
    assert window.push(rows[5])


def test_zero_gradient_is_a_row_of_zeros() -> None:
    window, rows = float64_window(3, 17), gradients(2, 17)
    for g in [*rows, torch.zeros(17, dtype=torch.float64)]:
        window.push(g)
    assert window.newest_inverse_product().abs().max() == 0
    expected = dense_inverse_product(rows, rows[0], num_grads=3, damping=DAMPING)
    assert relative_error(window.inverse_product(rows[0]), expected) < 1e-10


def test_equal_gradients() -> None:
    """G G^T has rank 1 and is far above the damping: u = m g / (m |g|^2 + m damp)."""
    (g,) = gradients(1, 1009)
    window = FisherWindow(7, 1009, damping=1e-9, dtype=torch.float64)
    for _ in range(2 * 7):
        window.push(g)
    # What rounding eps |g| / damp leaves: 2e-16 * 32 / 1e-9, against |u| = 1 / 32.
    assert relative_error(window.newest_inverse_product(), g / g.dot(g)) < 1e-3


def repeated_gradients(count: int, dim: int, *, norm: float, batches: int) -> list[Tensor]:
    """Those of few batches, seen again and again while the weights hardly move."""
    base = torch.stack(gradients(batches, dim)) / 2 + gradients(1, dim, seed=1)[0]
    rows = base[torch.arange(count) % batches]
    rows = rows + 1e-4 * torch.stack(gradients(count, dim, seed=2))
    return list(norm * rows / rows.norm(dim=1, keepdim=True))


def stored_rows(window: FisherWindow) -> list[Tensor]:
    """What the window holds, the newest last."""
    rows = window.rows.values.double() * window.rows.scales.unsqueeze(1)
    slots = range(window.num_pushed - window.num_filled, window.num_pushed)
    return [rows[slot % window.num_grads] for slot in slots]


def error_of_newest(window: FisherWindow) -> float:
    rows = torch.stack(stored_rows(window))
    size = window.num_grads
    system = rows @ rows.t() + size * window.damping * torch.eye(len(rows), dtype=torch.float64)
    unit = torch.zeros(len(rows), dtype=torch.float64)
    unit[-1] = 1.0
    expected = size * rows.t() @ torch.linalg.solve(system, unit)
    return relative_error(window.newest_inverse_product(), expected)


@pytest.mark.parametrize("dtype", list(ROUNDING), ids=str)
@pytest.mark.parametrize(("norm", "most"), [(0.5, 20), (15.7, 20), (150.0, 200)])
def test_repeated_gradients_are_exact_and_seldom_factorised(
    dtype: torch.dtype,
    norm: float,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Float32 products were 140 % off at 15.7, and 9 of 10 pushes factorised."""
    factorised = []
    factorise = DampedGram.factorise
    monkeypatch.setattr(
        DampedGram, "factorise", lambda system: (factorised.append(system), factorise(system))
    )
    window = FisherWindow(64, 499, damping=1e-6, dtype=dtype)
    errors = []
    for i, g in enumerate(repeated_gradients(200, 499, norm=norm, batches=13)):
        window.push(g)
        if i % 9 == 0:
            errors.append(error_of_newest(window))
    assert max(errors) < 1e-5
    assert len(factorised) <= most
    assert not caplog.records


@pytest.mark.parametrize("dtype", list(ROUNDING), ids=str)
@pytest.mark.parametrize(("norm", "warned"), [(0.1, 0), (2.0, 1)])
def test_the_error_of_a_step_is_measured_and_told_once(
    dtype: torch.dtype,
    norm: float,
    warned: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With products that stay in float32 whatever is expected of them."""
    monkeypatch.setitem(step_rounding.ROUNDING, torch.float32, 0.0)
    window = FisherWindow(64, 499, damping=1e-6, dtype=dtype)
    for i, g in enumerate(repeated_gradients(150, 499, norm=norm, batches=13)):
        window.push(g)
        if i % 40 == 39:
            measured = window.newest_error(window.newest_inverse_product())
            # What the sum of the rows leaves outside their span is not in it.
            assert measured == pytest.approx(error_of_newest(window), rel=0.2)
    assert caplog.text.count("rounding has moved this step by 0.0") == warned
    assert window.rows.product_dtype is torch.float32


def test_products_go_back_to_float32_when_gradients_do_not_repeat_any_more() -> None:
    window = FisherWindow(11, 499, damping=1e-6)
    for g in repeated_gradients(5, 499, norm=15.7, batches=4):
        window.push(g)
    assert window.rows.product_dtype is torch.float64
    for g in gradients(2 * 11, 499, seed=3):
        window.push(g)
    assert window.rows.product_dtype is torch.float32


@pytest.mark.parametrize(("repeated", "norm", "warned"), [(False, 5e3, 0), (True, 5e3, 1)])
def test_damping_too_small_even_for_float64_is_told_once(
    repeated: bool, norm: float, warned: int, caplog: pytest.LogCaptureFixture
) -> None:
    window = FisherWindow(31, 101, damping=1e-6)
    (g,) = gradients(1, 101)
    for other in gradients(8, 101, seed=1):
        window.push(norm * (g / g.norm() if repeated else other / other.norm()))
    assert caplog.text.count("too small for that even in float64") == warned
    assert caplog.text.count("above 2e-05 (--mfac-damping)") == warned
    assert (window.rows.product_dtype is torch.float64) == repeated


@pytest.mark.parametrize("known", [True, False], ids=["", "state of before float64"])
def test_float64_products_are_resumed(known: bool) -> None:
    saved = FisherWindow(11, 499, damping=1e-6)
    window = FisherWindow(11, 499, damping=1e-6)
    *before, after = repeated_gradients(16, 499, norm=15.7, batches=4)
    for g in before:
        saved.push(g)
    state = saved.state_dict()
    if not known:
        del state["float64_pushes"]
    window.load_state_dict(state)
    saved.push(after)
    window.push(after)
    assert error_of_newest(window) < 1e-6
    if known:
        assert torch.equal(window.newest_inverse_product(), saved.newest_inverse_product())


@pytest.mark.parametrize("new_size", [3, 5, 11])
def test_another_size_keeps_the_newest(new_size: int, caplog: pytest.LogCaptureFixture) -> None:
    rows = gradients(9, 17)
    saved = float64_window(5, 17)
    for g in rows[:8]:
        saved.push(g)
    window = float64_window(new_size, 17)
    with caplog.at_level(logging.INFO):
        window.load_state_dict(saved.state_dict())
    assert ("keeps the newest" in caplog.text) == (new_size != 5)
    window.push(rows[8])
    kept = [*rows[3:8], rows[8]][-new_size:]
    expected = dense_inverse_product(kept, rows[8], num_grads=new_size, damping=DAMPING)
    assert relative_error(window.newest_inverse_product(), expected) < 1e-10


@pytest.mark.parametrize("saved_dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_another_dtype_rounds_the_saved_gradients(
    saved_dtype: torch.dtype, dtype: torch.dtype
) -> None:
    rows = gradients(6, 17)
    saved = FisherWindow(5, 17, damping=DAMPING, dtype=saved_dtype)
    for g in rows[:4]:
        saved.push(g)
    window = FisherWindow(5, 17, damping=DAMPING, dtype=dtype)
    window.load_state_dict(saved.state_dict())
    window.push(rows[4])
    stored = [
        row * s for row, s in zip(window.rows.values.double(), window.rows.scales, strict=True)
    ]
    expected = dense_inverse_product(stored, stored[4], num_grads=5, damping=DAMPING)
    assert relative_error(window.newest_inverse_product(), expected) < 20 * 2**-24


def test_saved_rows_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tupe_plugin.core.saved_window.SAVED_BLOCK_BYTES", 3 * 17 * 8)
    saved, rows = float64_window(11, 17), gradients(20, 17)
    for g in rows[:19]:
        saved.push(g)
    state = saved.state_dict()
    assert [len(block) for block in state["rows"]] == [3, 3, 3, 2]
    window = float64_window(11, 17)
    window.load_state_dict(state)
    saved.push(rows[19])
    window.push(rows[19])
    assert torch.equal(window.newest_inverse_product(), saved.newest_inverse_product())


def test_another_damping_is_taken_up() -> None:
    saved, rows = float64_window(5, 17), gradients(4, 17)
    for g in rows[:3]:
        saved.push(g)
    window = FisherWindow(5, 17, damping=0.5, dtype=torch.float64)
    window.load_state_dict(saved.state_dict())
    window.push(rows[3])
    expected = dense_inverse_product(rows, rows[3], num_grads=5, damping=0.5)
    assert relative_error(window.newest_inverse_product(), expected) < 1e-10


def test_other_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="over 17 trainable parameters, this one over 19"):
        float64_window(5, 19).load_state_dict(float64_window(5, 17).state_dict())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_grads": 0}, "num_grads=0"),
        *(({"damping": value}, f"damping={value}") for value in (0.0, -1e-6, math.inf, math.nan)),
        ({"dtype": torch.int8}, "int8"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    arguments = {"num_grads": 3, "damping": DAMPING, **settings}
    with pytest.raises(ValueError, match=message):
        FisherWindow(arguments.pop("num_grads"), 17, **arguments)


class TestDampedGram:
    def exchanged(self, exchanges: int, *, norm: float) -> tuple[DampedGram, int]:
        size, ridge = 23, 1e-4
        system = DampedGram(size, ridge=ridge, device="cpu")
        rows = torch.zeros(size, 31, dtype=torch.float64)
        for i, g in enumerate(gradients(exchanges, 31)):
            slot = i % size
            rows[slot] = norm * g
            x = system.exchange(slot, rows @ rows[slot])
        exact = rows @ rows.t() + ridge * torch.eye(size, dtype=torch.float64)
        residual = exact @ x
        residual[slot] -= 1
        assert residual.norm() < 1e-9
        return system, slot

    @pytest.mark.parametrize("norm", [1e-3, 1.0, 100.0])
    def test_stays_accurate_over_many_exchanges(self, norm: float) -> None:
        self.exchanged(1000, norm=norm)

    def test_a_spoilt_inverse_is_noticed(self) -> None:
        system, slot = self.exchanged(30, norm=1.0)
        system.inverse += 1e-2 * torch.randn_like(system.inverse)
        products = system.gram[slot].clone()
        x = system.exchange(slot, products)
        unit = system.gram @ x + system.ridge * x
        unit[slot] -= 1
        assert unit.norm() < 1e-9

    def test_products_rounded_by_more_than_the_damping_give_bounded_columns(self) -> None:
        size, ridge = 23, 1e-7
        system = DampedGram(size, ridge=ridge, device="cpu")
        rows = torch.stack(gradients(5, 31)).repeat(5, 1)[:size]
        noise = 1e-5 * torch.stack(gradients(size, size, seed=3))
        gram = rows @ rows.t() + noise + noise.t()
        assert torch.linalg.eigvalsh(gram).min() < -10 * ridge
        for slot in range(size):
            known = torch.where(torch.arange(size) <= slot, gram[slot], 0.0)
            x = system.exchange(slot, known)
            assert x.isfinite().all()
            assert x.norm() <= 2.01 / ridge
        assert torch.linalg.eigvalsh(system.gram).min() > -1e-10


def make_rows(kind: str, dtype: torch.dtype) -> GradientRows | SparseRows:
    if kind == "whole":
        return GradientRows(11, 101, dtype=dtype, device="cpu")
    return SparseRows(11, 101, density=0.3, dtype=dtype, device="cpu")


class TestRows:
    """Both kinds, with rows of very different sizes and many tiles, the last of them short."""

    @pytest.mark.parametrize("kind", ["whole", "sparse"])
    @pytest.mark.parametrize("dtype", [torch.float64, *ROUNDING], ids=str)
    def test_products_over_many_tiles(
        self, kind: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = {"BLOCK_COLUMNS": 37, "TILE_COLUMNS": 29, "TILE_ROWS": 3, "GRAM_COLUMNS": 23}
        sparse = {"BLOCK_COLUMNS": 7, "TILE_BLOCKS": 3, "TILE_NUMBERS": 13, "GRAM_BLOCKS": 2}
        for module, sizes in (("gradient_rows", whole), ("sparse_rows", sparse)):
            for name, size in sizes.items():
                monkeypatch.setattr(f"tupe_plugin.core.{module}.{name}", size)
        rows = make_rows(kind, dtype)
        stored = torch.zeros(7, 101, dtype=torch.float64)
        for slot, g in enumerate(gradients(7, 101)):
            row = rows.narrow_down(g * 10.0**slot, largest=largest_magnitude(g) * 10.0**slot)
            if isinstance(rows, SparseRows):
                rows.add_(stored[slot], row, factor=1.0)
            else:
                stored[slot] = row.values.double() * row.scale
            norm = rows.squared_norm(row)
            torch.testing.assert_close(norm, stored[slot].square().sum(), rtol=1e-6, atol=0)
            rows.replace(slot, row)
        v = gradients(1, 101, seed=1)[0].to(rows.compute_dtype)
        c = gradients(1, 7, seed=2)[0]
        bound = 1e-12 if dtype is torch.float64 else 20 * 2**-24
        lengths = stored.norm(dim=1)
        error = (rows.dot(v, count=7) - stored @ v.double()).abs() / (lengths * v.norm())
        assert error.max() < bound
        assert relative_error(rows.combine(c), stored.t() @ c) < bound
        gram = stored @ stored.t()
        error = (rows.gram(count=7) - gram).abs() / torch.outer(lengths, lengths)
        assert error.max() < bound
        error = (rows.dot_row(row, count=7) - gram[6]).abs() / (lengths * lengths[6])
        assert error.max() < bound

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
    @pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
    def test_three_halves_make_a_float32(self, dtype: torch.dtype, size: float) -> None:
        v = (torch.randn(1009) * size).float()
        parts, scale = split_into_halves(v, dtype)
        assert parts.dtype is dtype
        back = parts.double().sum(1) * scale
        assert (back - v.double()).abs().max() <= 2**-24 * v.double().abs().max()
