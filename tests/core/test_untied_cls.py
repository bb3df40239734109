from __future__ import annotations

import torch

from tupe_plugin.core.untied_cls import reset_cls

HEADS, QUERIES, KEYS = 3, 5, 7


def inputs(heads: int = HEADS, queries: int = QUERIES, keys: int = KEYS) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((heads, queries, keys), (heads,), (heads,))
    ]


def reset(bias: torch.Tensor, theta_1: torch.Tensor, theta_2: torch.Tensor) -> torch.Tensor:
    return reset_cls(bias, cls_to_others=theta_1, others_to_cls=theta_2)


def test_every_cell_follows_the_equation() -> None:
    bias, theta_1, theta_2 = inputs()
    result = reset(bias, theta_1, theta_2)
    assert result.shape == (HEADS, QUERIES, KEYS)
    for h in range(HEADS):
        for i in range(QUERIES):
            for j in range(KEYS):
                expected = theta_1[h] if i == 0 else theta_2[h] if j == 0 else bias[h, i, j]
                assert result[h, i, j] == expected


def test_the_cell_where_cls_looks_at_itself_is_cls_to_others() -> None:
    bias, theta_1, theta_2 = inputs()
    assert torch.equal(reset(bias, theta_1, theta_2)[:, 0, 0], theta_1)


def test_a_lone_cls_knows_only_its_own_scalar() -> None:
    bias, theta_1, theta_2 = inputs(queries=1, keys=1)
    assert torch.equal(reset(bias, theta_1, theta_2).flatten(), theta_1)


def test_the_input_is_not_written_to() -> None:
    bias, theta_1, theta_2 = inputs()
    before = bias.detach().clone()
    reset(bias, theta_1, theta_2)
    assert torch.equal(bias, before)


def test_gradients_reach_all_three() -> None:
    assert torch.autograd.gradcheck(reset, inputs(heads=2, queries=3, keys=3))


def test_overwritten_cells_get_no_gradient() -> None:
    bias, theta_1, theta_2 = inputs()
    reset(bias, theta_1, theta_2).sum().backward()
    assert bias.grad is not None
    assert theta_1.grad is not None
    assert theta_2.grad is not None
    assert (bias.grad[:, 0] == 0).all()
    assert (bias.grad[:, :, 0] == 0).all()
    assert (bias.grad[:, 1:, 1:] == 1).all()
    assert (theta_1.grad == KEYS).all()
    assert (theta_2.grad == QUERIES - 1).all()
