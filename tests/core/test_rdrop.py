from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.references import rdrop as reference
from tupe_plugin.core.divergence import squared_difference
from tupe_plugin.core.rdrop import alpha_of_glue_code, alpha_of_paper, rdrop_loss, twice

ROWS, CLASSES = 7, 3
ALPHA = 0.7


def batch(classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    prediction = torch.randn(2 * ROWS, classes, dtype=torch.float64, generator=generator)
    return prediction, torch.randint(CLASSES, (ROWS,), generator=generator)


def classification(prediction: Tensor, targets: Tensor, alpha: float = ALPHA):
    losses = [F.cross_entropy(half, targets, reduction="sum") for half in prediction.chunk(2)]
    return rdrop_loss((losses[0], losses[1]), prediction, alpha=alpha)


def regression(prediction: Tensor, targets: Tensor, alpha: float = ALPHA):
    losses = [(half.view(-1) - targets).square().sum() for half in prediction.chunk(2)]
    return rdrop_loss(
        (losses[0], losses[1]), prediction, alpha=alpha, divergence=squared_difference
    )


def test_classification_equals_the_naive_reference() -> None:
    prediction, targets = batch(CLASSES)
    first, second = prediction[:ROWS].tolist(), prediction[ROWS:].tolist()
    expected = reference.classification_loss(first, second, targets.tolist(), ALPHA)
    assert classification(prediction, targets).total.item() == pytest.approx(expected, rel=1e-10)


def test_regression_equals_the_naive_reference() -> None:
    prediction, targets = batch(1)
    first, second = prediction[:ROWS, 0].tolist(), prediction[ROWS:, 0].tolist()
    expected = reference.regression_loss(first, second, targets.tolist(), ALPHA)
    assert regression(prediction, targets).total.item() == pytest.approx(expected, rel=1e-10)


def test_the_authors_weights_in_our_units_give_half_of_their_losses() -> None:
    prediction, targets = batch(CLASSES)
    first, second = prediction[:ROWS].tolist(), prediction[ROWS:].tolist()
    for weight in (0.1, 5.0):
        theirs = reference.authors_fairseq_loss(first, second, targets.tolist(), weight)
        ours = classification(prediction, targets, alpha_of_paper(weight)).total.item()
        assert 2 * ours == pytest.approx(theirs, rel=1e-10)
    theirs = reference.authors_glue_loss(first, second, targets.tolist())
    ours = classification(prediction, targets, alpha_of_glue_code(ROWS)).total.item() / ROWS
    assert 2 * ours == pytest.approx(theirs, rel=1e-10)
    prediction, targets = batch(1)
    first, second = prediction[:ROWS, 0].tolist(), prediction[ROWS:, 0].tolist()
    theirs = reference.authors_glue_regression_loss(first, second, targets.tolist())
    ours = regression(prediction, targets, alpha=0.5).total.item() / ROWS
    assert 2 * ours == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("kind", [classification, regression])
def test_the_parts_add_up_and_pull_on_both_passes(kind) -> None:
    prediction, targets = batch(CLASSES if kind is classification else 1)
    prediction.requires_grad_()
    loss = kind(prediction, targets)
    torch.testing.assert_close(loss.total, loss.task + ALPHA * loss.divergence)
    (pull,) = torch.autograd.grad(loss.divergence, prediction)
    assert pull[:ROWS].abs().amin() > 0
    torch.testing.assert_close(
        kind(prediction.detach().roll(ROWS, 0), targets).total, loss.total.detach()
    )


@pytest.mark.parametrize("kind", [classification, regression])
def test_equal_passes_give_the_plain_loss(kind) -> None:
    prediction, targets = batch(CLASSES if kind is classification else 1)
    same = twice(prediction[:ROWS])
    assert torch.equal(kind(same, targets).total, kind(same, targets, alpha=0.0).task)
    assert kind(same, targets).divergence == 0


def test_twice_lays_one_copy_after_the_other() -> None:
    x = torch.arange(6).view(2, 3)
    assert twice(x).tolist() == [[0, 1, 2], [3, 4, 5], [0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("alpha", [-0.1, float("inf"), float("nan")])
def test_an_impossible_weight_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match=f"alpha={alpha}"):
        classification(*batch(CLASSES), alpha=alpha)
