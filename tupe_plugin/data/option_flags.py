"""The command line of a program out of the dataclass of its options.

A field that is declared with `flag_option` or `switch` is a flag: its name, default, bound and help
are said there and nowhere else. What is not a flag are paths: the program's own arguments.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..core.bounds import Bound, Number, OneOf, Text, Whole, flag


@dataclasses.dataclass(frozen=True)
class File:
    """A path; whether something is there is said when the program begins."""

    def problem(self, value: Any) -> str | None:
        return None

    def __str__(self) -> str:
        return "a path"


def flag_option(
    default: Any,
    bound: Bound,
    help: str,
    *,
    group: str,
    metavar: str = "",
    recorded: bool = True,
) -> Any:
    """A field that is a flag.

    Args:
        default, bound, help: as `core.bounds.option` has them; the help text stays as it is.
        group: its heading in the help text.
        metavar: what the help text writes for the value.
        recorded: whether a manifest has the value; the contents of files are recorded elsewhere.
    """
    metadata = {"bound": bound, "help": help, "group": group, "metavar": metavar}
    metadata["recorded"] = recorded and not isinstance(bound, File)
    return dataclasses.field(default=default, metadata=metadata)


def switch(help: str, *, group: str, recorded: bool = True) -> Any:
    """A flag without a value, off by default."""
    metadata = {"help": help, "group": group, "recorded": recorded}
    return dataclasses.field(default=False, metadata=metadata)


def names_recorded(options: type) -> list[str]:
    """The names of the fields whose values a manifest has."""
    return [f.name for f in dataclasses.fields(options) if f.metadata.get("recorded")]


def recorded_options(options: Any) -> dict[str, str]:
    """The values that a manifest has, by the names of their flags without the dashes."""
    return {
        flag(name).removeprefix("--"): _recorded(getattr(options, name))
        for name in names_recorded(type(options))
    }


def _recorded(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return str(value)


class Parser:
    """Reads the words of a command line; a mistake is one line and exit status 2.

    Args:
        program: as it is typed.
        options: the dataclass.
        arguments: what is given besides flags, for the usage.
        description: of the help text.
    """

    def __init__(self, program: str, options: type, *, arguments: str, description: str) -> None:
        self._parser = _OneLineParser(
            prog=program,
            usage=f"{program} [options] {arguments}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        groups: dict[str, Any] = {}
        for field in dataclasses.fields(options):
            if "group" not in field.metadata:
                continue
            name = field.metadata["group"]
            group = groups.setdefault(name, None) or self._parser.add_argument_group(name)
            groups[name] = group
            _add_flag(group, field)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        self._parser.error(message)

    def parse(self, words: Sequence[str]) -> tuple[dict[str, Any], list[Path]]:
        """The options by name, and the paths between and behind them; all behind `--` is a path."""
        words = list(words)
        end = words.index("--") if "--" in words else len(words)
        options, others = self._parser.parse_known_args(words[:end])
        for word in others:
            if word.startswith("-") and word != "-":
                self.error(f"unknown option {word.partition('=')[0]}")
        return vars(options), [Path(word) for word in others + words[end + 1 :]]


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^argument (-\S+): ", r"\1 ", message)
        message = message.replace("expected one argument", "needs a value")
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _add_flag(group: Any, field: dataclasses.Field[Any]) -> None:
    name, text = flag(field.name), field.metadata["help"].replace("%", "%%")
    if "bound" not in field.metadata:
        group.add_argument(name, action="store_true", help=text)
        return
    bound = field.metadata["bound"]
    shown = "" if field.default in (None, "") else f" (default: {field.default})"
    group.add_argument(
        name,
        type=_reader(bound),
        default=field.default,
        metavar=field.metadata["metavar"] or _metavar(bound),
        help=text + shown,
    )


def _metavar(bound: Bound) -> str:
    if isinstance(bound, OneOf):
        return "|".join(bound.names)
    return _METAVARS[type(bound)]


_METAVARS = {File: "FILE", Whole: "N", Number: "R", Text: "TEXT"}
_KINDS: dict[type, Callable[[str], Any]] = {Whole: int, Number: float, OneOf: str}


def _reader(bound: Bound) -> Callable[[str], Any]:
    """What argparse makes a value with."""

    def read(text: str) -> Any:
        if isinstance(bound, File):
            return Path(text) if text else None
        try:
            value = bound.parse(text) if isinstance(bound, Text) else _KINDS[type(bound)](text)
            problem = bound.problem(text if isinstance(bound, Text) else value)
        except ValueError:
            problem = "not of this kind"
        if problem is not None:
            raise argparse.ArgumentTypeError(f"must be {_in_words(bound)}, not {text!r}")
        return value

    return read


def _in_words(bound: Bound) -> str:
    if isinstance(bound, OneOf):
        return f"{', '.join(bound.names[:-1])} or {bound.names[-1]}"
    return str(bound)
