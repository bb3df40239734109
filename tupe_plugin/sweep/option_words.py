"""fairseq-train's options by name, and as the words of a command line.

    {"lr": 2e-5, "rel-pos": True, "no-save": False}    <->    --lr 2e-5 --rel-pos

Names have no "--" in front. A switch that is False is left out: so a table laid over another one
takes a switch back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

Value = str | int | float | bool
Options = dict[str, Value]


def words(options: Mapping[str, Value]) -> list[str]:
    """In the order of the table."""
    found = []
    for name, value in options.items():
        if isinstance(value, bool):
            found += [f"--{name}"] * value
        else:
            found += [f"--{name}", shown(value)]
    return found


def shown(value: Value) -> str:
    """As people write it: 2e-5, and neither 2e-05 nor 0.00002."""
    if isinstance(value, float) and value and not 1e-3 <= abs(value) < 1e6:
        return f"{Decimal(repr(value)).normalize():e}"
    return str(value)


def repetition(written: Sequence[str]) -> str | None:
    """What is wrong with values of which two are written alike: their runs would share a folder."""
    for number, one in enumerate(written):
        if one in written[:number]:
            return f"{one} is there twice, and would count twice"
    return None


def options_of(line: Sequence[str]) -> Options:
    """The table of a command line's words.

    Raises:
        ValueError: a word is no option and does not follow one.
    """
    options: Options = {}
    name = None
    for word in line:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            options[name] = value if equals else True
            name = None if equals else name
        elif name is None:
            raise ValueError(f"{word!r} does not follow an option")
        else:
            options[name], name = word, None
    return options
