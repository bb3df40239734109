"""A strategy by its name: the options of a part, or of several with a + between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.bounds import LEARNING_RATE, Number, Whole
from .option_words import Options, Value, repetition, shown

PLAIN = "plain"
RATE = Number(0, LEARNING_RATE.high, open_below=True)
_LR, _AVERAGE, _TASK = "lr", "average-last", "task"
_EPOCHS = Whole(2, 1_000)


class StrategyError(ValueError):
    """There is no such strategy, or it cannot be; the message says which and why."""


@dataclass(frozen=True)
class Strategy:
    """What is trained in another way."""

    name: str
    options: Options
    searched: dict[str, tuple[Value, ...]]
    lr: tuple[float, ...]
    """Its own rates; none: the sweep's."""
    task: dict[str, Options]
    average_last: int = 0
    """Epochs of a run of `parent` of which it is the average; 0: it is trained."""
    parent: Strategy | None = None

    def settings(self) -> Iterator[Options]:
        """Every combination of what is searched."""
        for values in itertools.product(*self.searched.values()):
            yield dict(zip(self.searched, values, strict=True))


def strategy_called(name: str, known: Mapping[str, Any]) -> Strategy:
    """The strategy of a name.

    Args:
        name: of one part, or of several with + between them.
        known: name of a part -> its table.

    Raises:
        StrategyError: a part is unknown, two parts contradict each other, a value is of no use.
    """
    parts = name.split("+")
    for part in parts:
        if part not in known:
            raise StrategyError(
                f"no strategy {part!r}; there is {', '.join(known)}, and [strategy.{part}] of the "
                "sweep's file could be one"
            )
        if parts.count(part) > 1:
            raise StrategyError(f"strategy {name!r} has {part!r} twice")
        _table(f"strategy.{part}", known[part])
    averages = [part for part in parts if _AVERAGE in known[part]]
    if averages:
        return _average(name, parts, averages, known)
    options: dict[str, Any] = {}
    task: dict[str, Options] = {}
    lr: tuple[float, ...] = ()
    for part in parts:
        table = dict(known[part])
        if _LR in table:  # the last part's counts
            lr = rates_of(f"strategy.{part}.{_LR}", table.pop(_LR))
        for one, more in _table(f"strategy.{part}.{_TASK}", table.pop(_TASK, {})).items():
            place = f"strategy.{part}.{_TASK}.{one}"
            for option, value in _table(place, more).items():
                if not isinstance(value, str | int | float):
                    raise StrategyError(
                        f"{place}.{option}: give a text, a number, true or false, not {value!r}"
                    )
            task[one] = {**task.get(one, {}), **more}
        for option, value in table.items():
            if options.get(option, value) != value:
                raise StrategyError(
                    f"strategy {name!r}: its parts have {option} {options[option]!r} and {value!r}"
                )
            options[option] = value
    searched = {option: value for option, value in options.items() if isinstance(value, list)}
    for option, value in options.items():
        for one in value if option in searched else [value]:
            if not isinstance(one, str | int | float):
                raise StrategyError(f"strategy {name!r}: {option} {one!r} is no option's value")
        if value == []:
            raise StrategyError(f"strategy {name!r}: {option} has no value to search")
        if option in searched:
            _refuse_twice(f"strategy {name!r}: {option}", value)
    return Strategy(
        name,
        {option: value for option, value in options.items() if option not in searched},
        {option: tuple(value) for option, value in searched.items()},
        lr,
        task,
    )


def _average(
    name: str, parts: list[str], averages: list[str], known: Mapping[str, Any]
) -> Strategy:
    if len(averages) > 1:
        raise StrategyError(f"strategy {name!r} is two averages")
    table = known[averages[0]]
    number = table[_AVERAGE]
    if set(table) != {_AVERAGE} or _EPOCHS.problem(number):
        raise StrategyError(
            f"strategy.{averages[0]}: give {_AVERAGE}, {_EPOCHS}, and nothing beside it"
        )
    others = "+".join(part for part in parts if part not in averages) or PLAIN
    parent = strategy_called(others, known)
    return Strategy(name, parent.options, parent.searched, parent.lr, parent.task, number, parent)


def rates_of(place: str, value: Any) -> tuple[float, ...]:
    """One learning rate, or a list of them.

    Args:
        place: where the value stands, for messages.
        value: what stands there.

    Raises:
        StrategyError: one is no rate, is there twice, or there is none.
    """
    values = value if isinstance(value, list) else [value]
    for one in values:
        if RATE.problem(one) is not None:
            raise StrategyError(f"{place} {one!r}: {RATE.problem(one)}")
    if not values:
        raise StrategyError(f"{place}: give one rate or more")
    rates = tuple(map(float, values))
    _refuse_twice(place, rates)
    return rates


def _table(place: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StrategyError(f"{place}: give a table, not {value!r}")
    return value


def _refuse_twice(place: str, values: Sequence[Value]) -> None:
    if problem := repetition(list(map(shown, values))):
        raise StrategyError(f"{place}: {problem}")
