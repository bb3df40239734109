from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from tests.references.averaging import greedy, mean
from tupe_plugin.core import averaging
from tupe_plugin.core.averaging import (
    ONE_START,
    MismatchError,
    ModelAverage,
    alignment,
    greedy_average,
    uniform_average,
)

SHAPES = {"weight": (3, 5), "bias": (7,), "scale": ()}
every_dtype = pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)


def state(seed: int, *, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = {key: torch.randn(shape, generator=generator) for key, shape in SHAPES.items()}
    return {key: value.to(dtype) for key, value in made.items()} | {"table": torch.arange(11)}


def loaders(*states: Mapping[str, Tensor]) -> dict[str, Callable[[], Mapping[str, Tensor]]]:
    return {f"model{i}": (lambda one=one: one) for i, one in enumerate(states)}


def average(*states: Mapping[str, Tensor]) -> dict[str, Tensor]:
    made = uniform_average(loaders(*states))
    assert all(map(torch.equal, made.values(), averaging.average(states).values()))
    return made


# ---- uniform


@every_dtype
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_equals_the_naive_mean(dtype: torch.dtype, count: int) -> None:
    states = [state(seed, dtype=dtype) for seed in range(count)]
    ours, theirs = average(*states), mean(states)
    assert ours.keys() == theirs.keys()
    for key, expected in theirs.items():
        assert ours[key].dtype == states[0][key].dtype
        # The reference rounds once, from float64; so do we, but for float64 itself.
        tolerance = 1e-15 if dtype is torch.float64 else 0
        torch.testing.assert_close(
            ours[key], expected.to(ours[key].dtype), rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("count", [3, 7, 13, 101])
def test_mean_of_equal_models_is_that_model_bit_for_bit(dtype: torch.dtype, count: int) -> None:
    one = state(3, dtype=dtype)
    assert all(torch.equal(value, one[key]) for key, value in average(*[one] * count).items())


def test_halves_are_not_summed_up_in_half_precision() -> None:
    """2048 + 1 + 1 is 2048 in float16; 60000 + 60000 overflows."""
    small = [{"w": torch.tensor([value], dtype=torch.float16)} for value in (2048.0, 1.0, 1.0, 2.0)]
    assert average(*small)["w"].item() == 513.0
    large = [{"w": torch.tensor([60000.0], dtype=torch.float16)}] * 2
    assert average(*large)["w"].item() == 60000.0


def test_inputs_stay_as_they_are_and_the_mean_is_new() -> None:
    states = [state(0), state(1)]
    before = [{key: value.clone() for key, value in one.items()} for one in states]
    ours = average(*states)
    for value in ours.values():
        value.zero_()
    for one, copy in zip(states, before, strict=True):
        assert all(torch.equal(one[key], copy[key]) for key in one)


def test_integers_are_kept() -> None:
    assert torch.equal(average(state(0), state(1))["table"], torch.arange(11))
    assert average(state(0), state(1))["table"].dtype == torch.int64


def test_tied_weights_stay_tied_where_all_models_tie_them() -> None:
    def tied(seed: int) -> dict[str, Tensor]:
        one = state(seed)
        return {**one, "output": one["weight"]}

    ours = average(tied(0), tied(1))
    assert ours["output"].data_ptr() == ours["weight"].data_ptr()
    assert ours["bias"].data_ptr() != ours["weight"].data_ptr()

    untied = {**state(1), "output": torch.ones(3, 5)}
    ours = average(tied(0), untied, tied(2))
    assert torch.equal(ours["weight"], mean([tied(0), untied, tied(2)])["weight"].float())
    assert torch.equal(ours["output"], mean([tied(0), untied, tied(2)])["output"].float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": None}, "^model0 has bias, and model1 has not$"),
        ({"more": torch.ones(2)}, "^model1 has more, and model0 has not$"),
        ({"weight": torch.ones(5, 3)}, "^weight is 3 x 5 in model0 and 5 x 3 in model1$"),
        ({"scale": torch.ones(1)}, "^scale is a single number in model0 and 1 in model1$"),
        ({"bias": torch.ones(7).half()}, "^bias is torch.float32 in model0 and torch.float16 in"),
        ({"table": torch.arange(11).flip(0)}, "^table holds other values in model0 than in model1"),
    ],
)
def test_mismatches_are_named(change: dict[str, Tensor | None], message: str) -> None:
    other = {key: value for key, value in (state(1) | change).items() if value is not None}
    with pytest.raises(MismatchError, match=message):
        average(state(0), other)
    with pytest.raises(MismatchError, match=message):
        greedy_average(loaders(state(0), other), lambda _: pytest.fail("nothing to score yet"))


def test_nothing_to_average() -> None:
    with pytest.raises(ValueError, match="no model was added"):
        ModelAverage().mean()
    with pytest.raises(ValueError, match="no model was added"):
        greedy_average({}, lambda _: 0.0)


# ---- greedy


def closeness(target: float) -> Callable[[Mapping[str, Tensor]], float]:
    """Highest where the one weight is `target`."""
    return lambda one: -abs(float(one["w"]) - target)


def points(*values: float) -> list[dict[str, Tensor]]:
    return [{"w": torch.tensor(value)} for value in values]


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_naive_recipe(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    states = points(*torch.randn(7, generator=generator).tolist())
    result = greedy_average(loaders(*states), closeness(0.1))
    chosen, theirs = greedy(states, closeness(0.1))
    assert result.chosen == tuple(f"model{i}" for i in chosen)
    assert torch.equal(result.state["w"], theirs["w"].float())
    assert result.score == closeness(0.1)(result.state)
    assert result.score >= max(closeness(0.1)(one) for one in states)


def test_by_hand() -> None:
    """-1 (score -1) and 3 (-3): mean 1 (-1) is no worse. With -4: mean -2/3, better. With 9: no."""
    result = greedy_average(loaders(*points(9.0, 3.0, -4.0, -1.0)), closeness(0.0))
    assert [(t.name, t.alone, t.chosen) for t in result.trials] == [
        ("model3", -1.0, True),
        ("model1", -3.0, True),
        ("model2", -4.0, True),
        ("model0", -9.0, False),
    ]
    assert [t.together for t in result.trials] == pytest.approx([-1, -1, -2 / 3, -7 / 4])
    assert float(result.state["w"]) == pytest.approx(-2 / 3)


def test_equal_scores_keep_the_order_given_and_all_are_taken() -> None:
    result = greedy_average(loaders(*points(1.0, 2.0, 3.0)), lambda _: 50.0)
    assert result.chosen == ("model0", "model1", "model2")
    assert float(result.state["w"]) == 2.0


def test_the_best_alone_is_returned_bit_for_bit() -> None:
    best = state(3)

    def score(one: Mapping[str, Tensor]) -> float:
        return float(torch.equal(one["weight"], best["weight"]))

    result = greedy_average(loaders(state(0), best, state(1)), score)
    assert result.chosen == ("model1",)
    assert all(torch.equal(value, best[key]) for key, value in result.state.items())


def test_alignment() -> None:
    generator = torch.Generator().manual_seed(3)
    start, *changes = torch.randn(3, 211, 307, generator=generator)
    one, other = ({"matrix": start + change, "bias": torch.ones(5)} for change in changes)
    expected = torch.cosine_similarity(*(m["matrix"].flatten().double() for m in (one, other)), 0)
    assert alignment(one, other) == pytest.approx(float(expected), rel=1e-12)
    # Changes as long as the start, in random directions: the limit, up to 1 / sqrt(entries).
    assert alignment(one, other) == pytest.approx(ONE_START, abs=4 / math.sqrt(start.numel()))
    assert alignment(one, {**one, "head": start}) == pytest.approx(1, rel=1e-12)
    assert math.isnan(alignment({"bias": torch.ones(5)}, one))


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="score of model1 is not a number"):
        greedy_average(
            loaders(*points(1.0, 2.0)), lambda one: float("nan") if one["w"] > 1.5 else 0.0
        )


def test_scores_are_computed_once_for_each_model_and_each_trial() -> None:
    calls = []

    def score(one: Mapping[str, Tensor]) -> float:
        calls.append(float(one["w"]))
        return closeness(0.0)(one)

    greedy_average(loaders(*points(1.0, 2.0, 4.0)), score)
    assert calls == [1.0, 2.0, 4.0, 1.5, 2.5]
