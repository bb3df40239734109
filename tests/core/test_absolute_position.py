from __future__ import annotations

import pytest
import torch
from torch.func import functional_call

from tests.core.random_parameters import randomized
from tests.references.absolute_position import absolute_bias
from tupe_plugin.core.absolute_position import (
    AbsolutePositionBias,
    PositionProjection,
    tie_cls,
    untie_cls,
)

HEADS, HEAD_DIM, MAX_POSITIONS = 3, 5, 11
SCALE = (2 * HEAD_DIM) ** -0.5
RULES = pytest.mark.parametrize("rule", [untie_cls, tie_cls])


def bias_module(rule=untie_cls, *, heads=HEADS, head_dim=HEAD_DIM, positions=MAX_POSITIONS):
    projection = PositionProjection(positions, heads * head_dim, heads)
    return randomized(AbsolutePositionBias(projection, scale=(2 * head_dim) ** -0.5, cls_rule=rule))


@RULES
@pytest.mark.parametrize("length", [1, 2, 7, MAX_POSITIONS])
@pytest.mark.parametrize("training", [True, False])
def test_equals_the_naive_reference(rule, length: int, training: bool) -> None:
    module = bias_module(rule).train(training)
    expected = absolute_bias(
        dict(module.projection.named_parameters()), HEADS, length, untied=rule is untie_cls
    )
    torch.testing.assert_close(module(length), expected, rtol=1e-10, atol=1e-10)


def test_zero_projections_give_no_bias() -> None:
    module = bias_module()
    for linear in (module.projection.query, module.projection.key):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    assert torch.equal(module(7), torch.zeros(HEADS, 7, 7, dtype=torch.float64))


def test_equal_positions_give_a_constant_bias() -> None:
    module = bias_module()
    with torch.no_grad():
        module.projection.embedding.weight[:] = module.projection.embedding.weight[:1]
    bias = module(7)
    torch.testing.assert_close(bias, bias[:, :1, :1].expand_as(bias), rtol=1e-10, atol=1e-10)


def test_a_shorter_sequence_is_a_corner_of_a_longer_one() -> None:
    module = bias_module()
    torch.testing.assert_close(module(5), module(11)[:, :5, :5], rtol=1e-10, atol=1e-10)


@RULES
def test_gradients_of_every_parameter(rule) -> None:
    module = bias_module(rule, heads=2, head_dim=3, positions=4)
    names, values = zip(*module.named_parameters(), strict=True)

    def bias(*parameters: torch.Tensor) -> torch.Tensor:
        return functional_call(module, dict(zip(names, parameters, strict=True)), (3,))

    assert torch.autograd.gradcheck(bias, values)


def test_row_0_of_the_table_serves_only_the_untied_cls() -> None:
    """Tied, the table's first row must get no gradient; untied, it must."""
    gradients = {}
    for rule in (untie_cls, tie_cls):
        module = bias_module(rule)
        module(7).square().sum().backward()
        gradients[rule] = module.projection.embedding.weight.grad
    assert (gradients[tie_cls][0] == 0).all()
    assert (gradients[untie_cls][0] != 0).any()
    for gradient in gradients.values():
        assert (gradient[1:8] != 0).any(dim=1).all()
        assert (gradient[8:] == 0).all()  # beyond the sentence


def test_projected_rows_are_those_asked_for() -> None:
    projection = randomized(PositionProjection(MAX_POSITIONS, HEADS * HEAD_DIM, HEADS))
    queries, keys = projection(2, 7)
    all_queries, all_keys = projection(0, MAX_POSITIONS + 1)
    assert queries.shape == keys.shape == (HEADS, 5, HEAD_DIM)
    torch.testing.assert_close(queries, all_queries[:, 2:7], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(keys, all_keys[:, 2:7], rtol=1e-10, atol=1e-10)
    assert not torch.allclose(queries, keys)
