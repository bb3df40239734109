"""What values an option may have: declared once, with the option.

    mfac_damping: float = option(1e-6, Number(1e-12, 1e12), "added to the diagonal ...")

The help text of the flag, the check before the job (`check_options`) and the test that tries the
edges of every option read that one declaration. A `Number` or a `Whole` is also an argparse type:
``add_argument("--batch-size", type=Whole(1, 100_000))``.

Every range is closed above, so that nan, inf and what overflows float32 are outside of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Protocol


class Bound(Protocol):
    """What one option may be; `str()` says it in words that follow "give"."""

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value and what to do about it, or None."""
        ...


@dataclass(frozen=True)
class Number:
    """A real number from ``low`` to ``high``, each included unless it is said to be open."""

    low: float
    high: float
    open_below: bool = False
    open_above: bool = False

    def problem(self, value: Any) -> str | None:
        fits = (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and self.low <= value <= self.high
            and not (self.open_below and value == self.low)
            and not (self.open_above and value == self.high)
        )
        return None if fits else f"give {self}"

    def __str__(self) -> str:
        start = f"above {_shown(self.low)}" if self.open_below else f"from {_shown(self.low)}"
        if self.open_above:
            return f"a number {start} to below {_shown(self.high)}"
        return f"a number {start}{' and up' if self.open_below else ''} to {_shown(self.high)}"

    def __call__(self, text: str) -> float:
        return _parsed(float, text, self)


@dataclass(frozen=True)
class Whole:
    """An integer from ``low`` to ``high``, both included; only even ones with ``even``."""

    low: int
    high: int
    even: bool = False

    def problem(self, value: Any) -> str | None:
        fits = (
            isinstance(value, int)
            and not isinstance(value, bool)
            and self.low <= value <= self.high
            and not (self.even and value % 2)
        )
        return None if fits else f"give {self}"

    def __str__(self) -> str:
        kind = "an even number" if self.even else "a whole number"
        return f"{kind} from {self.low:,} to {self.high:,}"

    def __call__(self, text: str) -> int:
        return _parsed(int, text, self)


@dataclass(frozen=True)
class Each:
    """A list that is not empty, of values within ``bound``."""

    bound: Number | Whole

    def problem(self, value: Any) -> str | None:
        fits = isinstance(value, Iterable) and not isinstance(value, str)
        items = list(value) if fits else []
        if items and all(self.bound.problem(item) is None for item in items):
            return None
        return f"give {self}"

    def __str__(self) -> str:
        return f"{self.bound} for each"


@dataclass(frozen=True)
class Text:
    """What ``parse`` takes; it raises a ValueError that says what is wrong and what to give."""

    parse: Callable[[str], Any]
    description: str

    def problem(self, value: Any) -> str | None:
        try:
            self.parse(str(value))
        except ValueError as error:
            return str(error)
        return None

    def __str__(self) -> str:
        return self.description


@dataclass(frozen=True)
class OneOf:
    """One of some names."""

    names: tuple[str, ...]

    def problem(self, value: Any) -> str | None:
        return None if value in self.names else f"give {self}"

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}"


@dataclass(frozen=True)
class Anything:
    """No bound, for a reason."""

    reason: str

    def problem(self, value: Any) -> str | None:
        return None

    def __str__(self) -> str:
        return "anything"


_ABSENT = object()
LOSS_WEIGHT = Number(0, 10_000)
LEARNING_RATE = Number(0, 1e9)
BATCH_SIZE = Whole(1, 100_000)  # sentences
COUNT = Whole(1, 10**9)
COUNT_OR_NONE = Whole(0, 10**9)
LAYER_NORM_EPS = Number(1e-30, 1)
DROPOUT = Number(0, 1, open_above=True)
MAX_POSITIONS = Whole(3, 1_000_000)  # <s>, a word, </s>
WORKERS = Whole(0, 4_096)  # processes on one machine; 0 is one for each core


def option(default: Any, bound: Bound, help: str | None = None) -> Any:
    """A field of a configuration, its bound in the help text.

    Without ``help`` it is another part's option, which fairseq then declares only there.
    """
    metadata: dict[str, Any] = {"bound": bound}
    if help is not None:
        metadata["help"] = f"{help} [{bound}]"
    return field(default=default, metadata=metadata)


def check_options(values: Any, declared: type) -> None:
    """Hold the attributes of ``values`` against the bounds of the dataclass ``declared``.

    An option passes that ``values`` lacks (an older checkpoint's) or leaves at a default of None.

    Raises:
        ValueError: the first that is out of bounds, in the words of its flag.
    """
    for declaration in fields(declared):
        bound = declaration.metadata.get("bound")
        value = getattr(values, declaration.name, _ABSENT)
        unresolved = isinstance(value, str) and value.startswith("${")
        if bound is None or value is _ABSENT or unresolved:
            continue
        if value is None and declaration.default is None:
            continue
        problem = bound.problem(value)
        if problem is not None:
            shown = repr(value) if isinstance(value, str) else value
            raise ValueError(f"{flag(declaration.name)} {shown}: {problem}")


def flag(name: str) -> str:
    """``mfac_damping`` -> ``--mfac-damping``."""
    return f"--{name.replace('_', '-')}"


def _parsed(kind: Callable[[str], Any], text: str, bound: Number | Whole) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = text
    problem = bound.problem(value)
    if problem is not None:
        raise argparse.ArgumentTypeError(f"{problem}, not {text}")
    return value


def _shown(number: float) -> str:
    return f"{int(number):,}" if number == int(number) and number < 1e9 else f"{number:g}"
