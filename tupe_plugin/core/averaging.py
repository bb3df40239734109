"""Average of fine-tuned models: one model whose every weight is the mean of theirs.

    uniform   theta = (1/N) (theta_1 + ... + theta_N)
    greedy    S = {};  for theta_i, from the best alone to the worst:
                  if score(mean(S + {theta_i})) >= score(mean(S)):  S = S + {theta_i}
              theta = mean(S)

It takes models that were fine-tuned from the same one: from there their weights are still in one
basin of the loss.  The greedy average is never worse than the best model, on the set that it was
chosen by; its score on that set is no estimate for another one.

Source: Model soups (arXiv 2203.05482), section 2 and Recipe 1.

| paper          | here                                     |
|----------------|------------------------------------------|
| theta_i        | a state dict, name -> tensor             |
| ingredients, S | ``chosen``                               |
| ValAcc         | ``score``, of any metric; more is better |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

StateDict = Mapping[str, Tensor]

# Sums have twice the bits of what is summed up: so the mean of equal models is that model.
_SUM_DTYPE = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float64,
}


ONE_START = 0.5
"""Models whose `alignment` is below this have less in common than each has of its own."""


class MismatchError(ValueError):
    """Two models whose weights cannot be averaged; the message names both and the weight."""


class ModelAverage:
    """The mean of state dicts that come one after another.

    Floating-point weights are averaged and have their own precision again at the end.  Others
    (tables, counts) must be the same in all models, and stay so.  Tensors that are one and the same
    under several names in every model are so in the mean.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._first: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}
        self._same: dict[str, str] = {}  # key -> the first key of the same tensor

    def add(self, state: StateDict, *, name: str) -> None:
        """Take one more model in.

        Args:
            state: its weights; they are not changed.
            name: what errors call it.

        Raises:
            MismatchError: its keys, shapes, types or integers are others than the first one's.
        """
        same = _shared_tensors(state)
        if not self.names:
            self._first = {key: value.detach() for key, value in state.items()}
            self._sums = {
                key: value.to(_SUM_DTYPE.get(value.dtype, value.dtype), copy=True)
                for key, value in self._first.items()
                if value.is_floating_point()
            }
            self._same = same
        else:
            self._check(state, name)
            for key, total in self._sums.items():
                total.add_(state[key].detach().to(total.device))
            self._same = {
                key: first if same[key] == first else key for key, first in self._same.items()
            }
        self.names.append(name)

    def mean(self) -> dict[str, Tensor]:
        """The average: new tensors.

        Raises:
            ValueError: there is nothing to average.
        """
        if not self.names:
            raise ValueError("no model was added: there is nothing to average")
        mean: dict[str, Tensor] = {}
        for key, value in self._first.items():
            if self._same[key] != key:
                mean[key] = mean[self._same[key]]
            elif key in self._sums:
                mean[key] = (self._sums[key] / len(self.names)).to(value.dtype)
            else:
                mean[key] = value.clone()
        return mean

    def copy(self) -> ModelAverage:
        """Another average that begins with the models of this one."""
        other = ModelAverage()
        other.names = list(self.names)
        other._first, other._same = self._first, dict(self._same)
        other._sums = {key: total.clone() for key, total in self._sums.items()}
        return other

    def _check(self, state: StateDict, name: str) -> None:
        first = self.names[0]
        for key in [*self._first, *state]:
            if key not in state or key not in self._first:
                has, lacks = (first, name) if key in self._first else (name, first)
                raise MismatchError(f"{has} has {key}, and {lacks} has not")
            ours, theirs = self._first[key], state[key]
            if ours.shape != theirs.shape:
                raise MismatchError(
                    f"{key} is {_shape(ours)} in {first} and {_shape(theirs)} in {name}"
                )
            if ours.dtype != theirs.dtype:
                raise MismatchError(
                    f"{key} is {ours.dtype} in {first} and {theirs.dtype} in {name}"
                )
            if key not in self._sums and not torch.equal(ours, theirs.to(ours.device)):
                raise MismatchError(
                    f"{key} holds other values in {first} than in {name}; it is {ours.dtype}, of "
                    "which there is no mean"
                )


def alignment(one: StateDict, other: StateDict) -> float:
    """Cosine of the angle between two models, over the matrices that they share.

    Models that were fine-tuned from the same one are close to 1, models from two random starts to
    0: no direction of one is a direction of the other.  If each is the start and a change as long
    as it, in directions of their own, it is `ONE_START`.  Vectors (biases, gains of LayerNorm) are
    alike in all models and do not count; nan where there is no matrix.
    """
    dots = torch.zeros(3, dtype=torch.float64)
    for key in one.keys() & other.keys():
        a, b = one[key], other[key]
        if a.is_floating_point() and a.dim() > 1 and a.shape == b.shape:
            a, b = a.detach().flatten().double().cpu(), b.detach().flatten().double().cpu()
            dots += torch.stack([a @ b, a @ a, b @ b])
    return float(dots[0] / (dots[1] * dots[2]).sqrt())


@dataclass(frozen=True)
class Trial:
    """What became of one model in the greedy average."""

    name: str
    alone: float
    """Its own score."""
    together: float
    """Score of the average of those chosen before and this one."""
    chosen: bool


@dataclass(frozen=True)
class GreedyAverage:
    """The average, its score, and every trial in the order in which they were made."""

    state: dict[str, Tensor]
    score: float
    trials: tuple[Trial, ...]

    @property
    def chosen(self) -> tuple[str, ...]:
        return tuple(trial.name for trial in self.trials if trial.chosen)


def average(states: Iterable[StateDict]) -> dict[str, Tensor]:
    """The mean of state dicts: new tensors.

    Args:
        states: a list, or a generator that loads one after another.

    Raises:
        MismatchError: two of them cannot be averaged.
        ValueError: there is none.
    """
    mean = ModelAverage()
    for number, state in enumerate(states, start=1):
        mean.add(state, name=f"model {number}")
    return mean.mean()


def uniform_average(models: Mapping[str, Callable[[], StateDict]]) -> dict[str, Tensor]:
    """The mean of all models; see :class:`ModelAverage`.

    Args:
        models: name -> a function that loads its weights; one model is held at a time.
    """
    average = ModelAverage()
    for name, load in models.items():
        average.add(load(), name=name)
    return average.mean()


def greedy_average(
    models: Mapping[str, Callable[[], StateDict]],
    score: Callable[[Mapping[str, Tensor]], float],
) -> GreedyAverage:
    """Add one model after another, from the best to the worst, where the score does not fall.

    2 N - 1 scores are computed for N models; of equal ones the one named first is tried first.

    Args:
        models: name -> a function that loads its weights; called twice for each.
        score: of a model on the dev set; more is better.

    Raises:
        MismatchError: two models cannot be averaged.  This is found before anything is scored.
        ValueError: there is no model, or the score of one is not a number.
    """
    check = ModelAverage()
    for name, load in models.items():
        check.add(load(), name=name)
    check.mean()
    alone = {name: _score(score, load(), name) for name, load in models.items()}
    order = sorted(models, key=lambda name: -alone[name])  # sorted() keeps the order of equals
    average, best = ModelAverage(), -math.inf
    trials = []
    for name in order:
        candidate = average.copy()
        candidate.add(models[name](), name=name)
        is_first = not average.names
        together = alone[name] if is_first else _score(score, candidate.mean(), name)
        chosen = is_first or together >= best
        if chosen:
            average, best = candidate, together
        trials.append(Trial(name, alone[name], together, chosen))
    return GreedyAverage(average.mean(), best, tuple(trials))


def _score(score: Callable[[Mapping[str, Tensor]], float], state: StateDict, name: str) -> float:
    value = score(state)
    if math.isnan(value):
        raise ValueError(f"the score of {name} is not a number (nan), so it cannot be compared")
    return value


def _shared_tensors(state: StateDict) -> dict[str, str]:
    """Key -> the first key under which the same tensor stands."""
    first: dict[object, str] = {}
    return {
        key: first.setdefault(
            (value.data_ptr(), value.dtype, value.shape, value.stride()) if value.numel() else key,
            key,
        )
        for key, value in state.items()
    }


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"
