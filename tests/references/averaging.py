"""Averages of models, number by number, and the greedy recipe of model soups as it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def mean(states: Sequence[State]) -> dict[str, Tensor]:
    """In float64; integers as the first model has them."""
    averaged = {}
    for key, first in states[0].items():
        if not first.is_floating_point():
            averaged[key] = first
            continue
        flat = [
            sum(float(one[key].flatten()[i]) for one in states) / len(states)
            for i in range(first.numel())
        ]
        averaged[key] = torch.tensor(flat, dtype=torch.float64).view(first.shape)
    return averaged


def greedy(
    states: Sequence[State], score: Callable[[State], float]
) -> tuple[list[int], dict[str, Tensor]]:
    """Recipe 1: indices of the ingredients, in the order of their choice, and their mean."""

    def soup(indices: Sequence[int]) -> dict[str, Tensor]:
        rounded = mean([states[i] for i in indices])
        return {key: value.to(states[0][key].dtype) for key, value in rounded.items()}

    ranked = sorted(range(len(states)), key=lambda i: score(states[i]), reverse=True)
    ingredients: list[int] = []
    for i in ranked:
        if not ingredients or score(soup([*ingredients, i])) >= score(soup(ingredients)):
            ingredients.append(i)
    return ingredients, soup(ingredients)
