"""Names of parameters by a table of two columns, theirs and ours, read in both directions.

| in a name | stands for                                                                   |
|-----------|------------------------------------------------------------------------------|
| ``#``     | the number of a layer                                                        |
| ``*``     | ``weight`` or ``bias``                                                       |
| ``{a,b,c}`` | parameters which are one on the other side, stacked along the first axis   |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..errors import UnusableCheckpointError


@dataclass(frozen=True)
class KeyTable:
    """(their name, our name) of every parameter that a family may have."""

    rows: tuple[tuple[str, str], ...]

    def to_ours(self, state: dict[str, Tensor], path: object) -> dict[str, Tensor]:
        """Their parameters under our names. `state` is emptied on the way, to save memory.

        Raises:
            UnusableCheckpointError: a name is not in the table, or one of a stack is missing.
        """
        ours: dict[str, Tensor] = {}
        stacks: dict[str, dict[int, Tensor]] = {}
        for key in list(state):
            found = self._place_of(key)
            if found is None:
                raise UnusableCheckpointError(
                    f"{path} holds {key}, for which this model has no place: only plain encoders "
                    "with a masked-LM head or a classification head are read"
                )
            name, place, height = found
            if height == 1:
                ours[name] = state.pop(key)
                continue
            stack = stacks.setdefault(name, {})
            stack[place] = state.pop(key)
            if len(stack) == height:
                parts = stacks.pop(name)
                ours[name] = torch.cat([parts[place] for place in range(height)])
        if stacks:
            raise UnusableCheckpointError(f"{path} lacks a part of {next(iter(stacks))}")
        return ours

    def to_theirs(self, state: dict[str, Tensor], path: object) -> dict[str, Tensor]:
        """Our parameters under their names.

        Raises:
            UnusableCheckpointError: a name is not in the table.
        """
        theirs: dict[str, Tensor] = {}
        for key, value in state.items():
            names = self._their_names(key)
            if not names:
                raise UnusableCheckpointError(
                    f"{path} holds {key}, for which the other format has no place"
                )
            theirs.update(zip(names, value.chunk(len(names)), strict=True))
        return theirs

    def their_name(self, ours: str) -> str:
        """Their name of a parameter that is one on both sides."""
        (name,) = self._their_names(ours)
        return name

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], tuple[str, ...], str]]:
        """Of each row: what matches their names, their names one by one, our name."""
        return [(_pattern(theirs), _alternatives(theirs), ours) for theirs, ours in self.rows]

    def _place_of(self, key: str) -> tuple[str, int, int] | None:
        """Our name for one of theirs, which part of it this is, and how many there are."""
        for pattern, alternatives, ours in self._patterns:
            match = pattern.fullmatch(key)
            if match:
                filled = [_filled(name, match) for name in alternatives]
                return _filled(ours, match), filled.index(key), len(filled)
        return None

    def _their_names(self, key: str) -> list[str]:
        for _, alternatives, ours in self._patterns:
            match = _pattern(ours).fullmatch(key)
            if match:
                return [_filled(name, match) for name in alternatives]
        return []


def _alternatives(name: str) -> tuple[str, ...]:
    start, brace, rest = name.partition("{")
    if not brace:
        return (name,)
    choices, _, end = rest.partition("}")
    return tuple(start + choice + end for choice in choices.split(","))


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile("".join(_pieces(name)))


def _pieces(name: str) -> Iterator[str]:
    for piece in re.split(r"(#|\*|\{.*?\})", name):
        if piece == "#":
            yield r"(?P<layer>0|[1-9]\d{0,6})"
        elif piece == "*":
            yield "(?P<kind>weight|bias)"
        elif piece.startswith("{"):
            yield f"(?:{'|'.join(map(re.escape, piece[1:-1].split(',')))})"
        else:
            yield re.escape(piece)


def _filled(name: str, match: re.Match[str]) -> str:
    for sign, value in (("#", "layer"), ("*", "kind")):
        if sign in name:
            name = name.replace(sign, match[value])
    return name
