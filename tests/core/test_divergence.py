from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from tests.references import rdrop as reference
from tupe_plugin.core.divergence import (
    detached_symmetric_kl_divergence,
    kl_divergence,
    squared_difference,
    symmetric_kl_divergence,
)

ROWS, CLASSES = 7, 5
ALL = [kl_divergence, symmetric_kl_divergence, squared_difference]


def two_predictions(dtype: torch.dtype = torch.float64, size: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    both = torch.randn(2, ROWS, CLASSES, dtype=torch.float64, generator=generator)
    return (size * both).to(dtype)


def symmetric(p: list[float], q: list[float]) -> float:
    return reference.kl(p, q) + reference.kl(q, p)


@pytest.mark.parametrize(
    ("ours", "naive"),
    [
        (kl_divergence, reference.kl),
        (symmetric_kl_divergence, symmetric),
        (detached_symmetric_kl_divergence, symmetric),
        (squared_difference, reference.square),
    ],
)
def test_equals_the_naive_reference_row_by_row(ours, naive) -> None:
    p, q = two_predictions()
    expected = torch.tensor(
        [naive(a, b) for a, b in zip(p.tolist(), q.tolist(), strict=True)], dtype=torch.float64
    )
    assert expected.min() > 0.1
    torch.testing.assert_close(ours(p, q), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("divergence", ALL)
def test_both_sides_get_a_gradient(divergence) -> None:
    p, q = (x[:3].clone().requires_grad_() for x in two_predictions())
    assert gradcheck(divergence, (p, q))
    assert all(g.abs().min() > 0 for g in torch.autograd.grad(divergence(p, q).sum(), (p, q)))


def test_a_detached_half_pulls_at_the_side_that_is_no_target() -> None:
    """d/dz KL(p || softmax z) = softmax z - p, by hand."""
    p, q = (x.requires_grad_() for x in two_predictions())
    pulls = torch.autograd.grad(detached_symmetric_kl_divergence(p, q).sum(), (p, q))
    apart = (p.softmax(-1) - q.softmax(-1)).detach()
    torch.testing.assert_close(pulls, (apart, -apart), rtol=1e-10, atol=1e-10)


def test_near_each_other_the_detached_form_has_half_the_gradient() -> None:
    """So SMART's published weight W is W / 2 with the symmetric one."""
    p, other = two_predictions()
    q = (p + 1e-4 * other).requires_grad_()
    whole, half = (
        torch.autograd.grad(divergence(p, q).sum(), q)[0]
        for divergence in (symmetric_kl_divergence, detached_symmetric_kl_divergence)
    )
    torch.testing.assert_close(half, whole / 2, rtol=0, atol=1e-3 * whole.abs().max().item())


@pytest.mark.parametrize("divergence", ALL)
def test_equal_predictions_are_not_apart(divergence) -> None:
    p = two_predictions()[0].requires_grad_()
    apart = divergence(p, p.detach())
    assert torch.equal(apart, torch.zeros(ROWS, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(apart.sum(), p)
    assert gradient.abs().max() < 1e-15


@pytest.mark.parametrize("divergence", [kl_divergence, symmetric_kl_divergence])
def test_impossible_classes_give_no_nan(divergence) -> None:
    """A probability that underflows to 0 has a finite logarithm."""
    p, q = (1e4 * x for x in two_predictions(torch.float32))
    p.requires_grad_()
    apart = divergence(p, q)
    (gradient,) = torch.autograd.grad(apart.sum(), p)
    assert apart.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("divergence", ALL)
@pytest.mark.parametrize("shape", [(ROWS,), (ROWS, 2, 3), (ROWS, 1)])
def test_what_is_no_row_of_classes_is_refused(divergence, shape) -> None:
    """One column is a regression, where a divergence of distributions would be 0 in silence."""
    p = torch.zeros(shape)
    if divergence is squared_difference and shape == (ROWS, 1):
        assert torch.equal(divergence(p, p), torch.zeros(ROWS))
        return
    with pytest.raises(ValueError, match=r"shape \(.*regression=True"):
        divergence(p, p)
