from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.func import functional_call

from tests.core.random_parameters import randomized
from tests.references.relative_position import bucket, relative_bias
from tupe_plugin.core.relative_position import (
    RelativePositionBias,
    relative_position_bucket,
    untied_cls_bins,
)

HEADS, MAX_POSITIONS = 3, 13
# Small enough that a sentence of 13 tokens reaches every kind of bin.
BINS, MAX_DISTANCE = 8, 7
FLOAT32 = Fraction(1, 10**5)  # far more than the roundings of two logarithms and a product


def buckets(offsets: list[int], num_bins: int, max_distance: int) -> list[int]:
    return relative_position_bucket(
        torch.tensor(offsets), num_bins=num_bins, max_distance=max_distance
    ).tolist()


# ---- buckets


def test_the_buckets_of_the_paper_equal_exact_arithmetic() -> None:
    offsets = list(range(-1024, 1025))
    assert buckets(offsets, 32, 128) == [bucket(offset, 32, 128) for offset in offsets]


def test_the_boundaries_of_32_bins_and_distance_128_are_the_published_ones() -> None:
    """T5: distances 0 to 7 have a bin each, then 8 log bins begin at 8, 12, 16, 23, 32, 46, ..."""
    starts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]
    left = buckets([-start for start in starts], 32, 128)
    assert left == list(range(16))
    before_next = [1 - start for start in starts[1:]]
    assert buckets(before_next, 32, 128) == list(range(15))
    assert buckets(starts[1:], 32, 128) == list(range(17, 32))  # bin 16 stays free
    assert buckets([-128, -129, -511, 128, 511], 32, 128) == [15, 15, 15, 31, 31]


sizes = st.integers(2, 32).flatmap(
    lambda half: st.tuples(st.just(2 * half), st.integers(half // 2 + 1, 1000))
)


@given(sizes, st.integers(-2000, 2000))
def test_any_size_equals_exact_arithmetic_up_to_a_rounding_at_a_boundary(
    size: tuple[int, int], offset: int
) -> None:
    got = buckets([offset], *size)[0]
    if abs(offset) < size[0] // 4:
        assert got == bucket(offset, *size)
    else:
        assert bucket(offset * (1 - FLOAT32), *size) <= got <= bucket(offset * (1 + FLOAT32), *size)


@given(sizes)
def test_bins_are_in_range_monotonic_symmetric_and_one_stays_free(size: tuple[int, int]) -> None:
    num_bins, max_distance = size
    half = num_bins // 2
    left = buckets([-n for n in range(max_distance + 3)], num_bins, max_distance)
    right = buckets(list(range(max_distance + 3)), num_bins, max_distance)
    assert left == sorted(left)
    assert left[0] == 0
    assert left[-1] == half - 1
    assert left[max_distance] == half - 1
    assert right[1:] == [half + b for b in left[1:]]
    assert right[0] == 0
    assert half not in left + right


@given(sizes, st.integers(-(10**6), 10**6))
def test_shape_and_neighbours_do_not_matter(size: tuple[int, int], offset: int) -> None:
    assume(offset)
    alone = buckets([offset], *size)
    table = relative_position_bucket(
        torch.tensor([[[offset, -offset]], [[0, offset]]]), num_bins=size[0], max_distance=size[1]
    )
    assert table.shape == (2, 1, 2)
    assert table.dtype == torch.int64
    assert table[0, 0, 0] == table[1, 0, 1] == alone[0]


@pytest.mark.parametrize("num_bins", [-2, 0, 2, 3, 31])
def test_an_impossible_number_of_bins_is_named(num_bins: int) -> None:
    with pytest.raises(ValueError, match=rf"num_bins={num_bins}\b.*even"):
        relative_position_bucket(torch.arange(3), num_bins=num_bins, max_distance=128)


@pytest.mark.parametrize("max_distance", [0, 8])
def test_a_distance_too_near_for_the_bins_is_named(max_distance: int) -> None:
    with pytest.raises(ValueError, match=rf"max_distance={max_distance}: must be above 8"):
        relative_position_bucket(torch.arange(3), num_bins=32, max_distance=max_distance)
    relative_position_bucket(torch.arange(3), num_bins=32, max_distance=9)


# ---- the bias


def bias_module(*, untied: bool, heads: int = HEADS) -> RelativePositionBias:
    return randomized(
        RelativePositionBias(
            heads,
            MAX_POSITIONS,
            num_bins=BINS,
            max_distance=MAX_DISTANCE,
            untied_cls=untied_cls_bins(BINS) if untied else None,
        )
    )


@pytest.mark.parametrize("untied", [True, False])
@pytest.mark.parametrize("length", [1, 2, 7, MAX_POSITIONS])
@pytest.mark.parametrize("training", [True, False])
def test_equals_the_naive_reference(untied: bool, length: int, training: bool) -> None:
    module = bias_module(untied=untied).train(training)
    expected = relative_bias(
        module.bias.weight, length, num_bins=BINS, max_distance=MAX_DISTANCE, untied=untied
    )
    torch.testing.assert_close(module(length), expected, rtol=0, atol=0)


def test_default_bins_equal_the_naive_reference() -> None:
    module = randomized(RelativePositionBias(2, 131, untied_cls=untied_cls_bins(32)))
    assert module.bias.weight.shape == (33, 2)
    expected = relative_bias(module.bias.weight, 131, num_bins=32, max_distance=128, untied=True)
    torch.testing.assert_close(module(131), expected, rtol=0, atol=0)


def test_equal_entries_give_a_constant_bias() -> None:
    module = bias_module(untied=True)
    torch.nn.init.constant_(module.bias.weight, 0.25)
    assert (module(7) == 0.25).all()


def test_left_and_right_are_told_apart() -> None:
    bias = bias_module(untied=False)(5)
    assert not torch.allclose(bias, bias.transpose(1, 2))


@pytest.mark.parametrize("untied", [True, False])
def test_gradient_of_the_table(untied: bool) -> None:
    module = bias_module(untied=untied, heads=2)

    def bias(table: torch.Tensor) -> torch.Tensor:
        return functional_call(module, {"bias.weight": table}, (5,))

    assert torch.autograd.gradcheck(bias, (module.bias.weight,))


def test_gradient_counts_the_cells_of_each_entry() -> None:
    module = bias_module(untied=True)
    module(7).sum().backward()
    expected = torch.zeros(BINS + 1, dtype=torch.float64)
    for query in range(7):
        for key in range(7):
            entry = BINS // 2 if query == 0 else BINS if key == 0 else None
            entry = bucket(key - query, BINS, MAX_DISTANCE) if entry is None else entry
            expected[entry] += 1
    torch.testing.assert_close(module.bias.weight.grad, expected[:, None].expand(-1, HEADS))


def test_the_bucket_table_moves_with_the_module_but_is_not_saved() -> None:
    """A plain attribute would stay behind on ``.to(device)``; a saved one would add a key."""
    module = bias_module(untied=True)
    assert set(module.state_dict()) == {"bias.weight"}
    assert "buckets" in dict(module.named_buffers())
    assert module.double().buckets.dtype == torch.int64


@pytest.mark.parametrize("assign", [False, True])
def test_a_module_made_without_memory_has_its_buckets(assign: bool) -> None:
    """Large models are made on ``meta``; then ``to_empty`` or ``assign`` gives them their place."""
    expected = bias_module(untied=True)
    with torch.device("meta"):
        module = RelativePositionBias(
            HEADS,
            MAX_POSITIONS,
            num_bins=BINS,
            max_distance=MAX_DISTANCE,
            untied_cls=untied_cls_bins(BINS),
        )
    if not assign:
        module.to_empty(device="cpu").double()
        module.buckets.fill_(10**6)  # whatever was in memory
        module.to_empty(device="cpu")
    module.load_state_dict(expected.state_dict(), assign=assign)
    assert torch.equal(module(7), expected(7))
