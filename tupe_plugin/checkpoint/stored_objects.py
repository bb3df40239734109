"""Objects in checkpoints of fairseq that are no plain data, and what is read in their place.

in the file                                       becomes
omegaconf's dictionaries, lists and values        dict, list, the value; `${a.b}` what it names
configuration dataclasses of fairseq              dict
enumerations of fairseq                           the value
numbers of numpy                                  Python's
arrays of numbers (`--eval-bleu` counts by them)  an array, made from the bytes in the file
fairseq's `Dictionary` (wav2vec, HuBERT: the      itself: a list of symbols and their numbers
units of labels, in `task_state`)

None of these classes is called, and none imported, because a file names it: `Record` stands for all
but `Dictionary`, which has no `__new__` or `__setstate__` of its own. What a record holds is taken
out of it; nothing of it is left.
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Mapping
from typing import Any

from .errors import UnusableCheckpointError

DICTIONARIES = (
    "fairseq.data.dictionary.Dictionary",
    "fairseq.data.legacy.masked_lm_dictionary.BertDictionary",
    "fairseq.data.legacy.masked_lm_dictionary.MaskedLMDictionary",
)
_NUMBER = re.compile(r"numpy\.(_core|core)\.multiarray\.scalar")
_ARRAY = re.compile(r"numpy\.(_core|core)\.multiarray\._reconstruct")
_NUMBER_TYPE = re.compile(r"numpy\.(dtype|dtypes\.\w+)")
_RECORDS = re.compile(
    r"(omegaconf|fairseq)(\.\w+)*\.[A-Z]\w*|typing\.\w+|collections\.defaultdict|numpy\.ndarray"
    r"|builtins\.(bool|bytes|dict|float|int|list|str|tuple)"
)
_REFERENCE = re.compile(r"\$\{(\w+(?:\.\w+)*)\}")
_MOST_REFERENCES = 10  # from one to the next


class Record:
    """What the pickle of an object holds: the arguments it was made with, and its state."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __new__(cls, *arguments: Any) -> Record:
        record = super().__new__(cls)
        record.arguments, record.state = arguments, {}
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state


class NumberType(Record):
    """A `numpy.dtype`: arguments ("f8", False, True), state (3, "<", ...)."""


class Array(Record):
    """A `numpy.ndarray`: state (version, shape, type, by columns, bytes)."""


def stand_in(name: str) -> Any:
    """What is read in the place of the class or function of that name; None: it is refused."""
    if name in DICTIONARIES:
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute)
    if _NUMBER.fullmatch(name):
        return number
    if _ARRAY.fullmatch(name):
        return Array
    if _NUMBER_TYPE.fullmatch(name):
        return NumberType
    return _record_class(name) if _RECORDS.fullmatch(name) else None


def _record_class(name: str) -> type[Record]:
    """One of its own for each name: torch asks for that."""
    return type(name, (Record,), {})


def number(kind: Any, data: Any) -> Any:
    """A number of numpy, from its type and its bytes."""
    import numpy as np

    return np.frombuffer(data, _type_of_numbers(kind), count=1)[0].item()


def _array(state: Any) -> Any:
    import numpy as np

    _, shape, kind, by_columns, data = state
    numbers = np.frombuffer(data, _type_of_numbers(kind)).copy()
    return numbers.reshape(shape, order="F" if by_columns else "C")


def _type_of_numbers(kind: Any) -> Any:
    import numpy as np

    code = kind.arguments[0] if isinstance(kind, NumberType) and kind.arguments else ""
    if not isinstance(code, str) or not re.fullmatch(r"[biufc]\d{1,2}", code):
        raise ValueError("no type of numbers")
    order: Any = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "="
    return np.dtype(code).newbyteorder(order)


def without_records(state: Any, path: Any) -> Any:
    """`state` with plain data in the place of every record, each container once.

    Raises:
        UnusableCheckpointError: a record has no plain form, or too many `${...}` follow each other.
    """
    done: dict[int, Any] = {}
    kept = []  # so that an id stays that of one object

    def plain(value: Any) -> Any:
        if id(value) in done:
            return done[id(value)]
        if isinstance(value, Record):
            kept.append(value)
            found = plain(_inside(value, path))
            done[id(value)] = found
            return found
        if isinstance(value, argparse.Namespace):
            done[id(value)] = value
            plain(vars(value))
        elif isinstance(value, dict):
            done[id(value)] = value
            items = [(plain(key), plain(item)) for key, item in value.items()]
            value.clear()
            value.update(items)
        elif isinstance(value, list):
            done[id(value)] = value
            value[:] = map(plain, value)
        elif type(value) in (tuple, set, frozenset):
            return type(value)(map(plain, value))
        return value

    state = plain(state)
    if isinstance(state, dict) and isinstance(state.get("cfg"), dict):
        state["cfg"] = _dereferenced(state["cfg"], state["cfg"], path)
    return state


def _inside(record: Record, path: Any) -> Any:
    """The content of a container, the value of a node or an enumeration, the fields of a class."""
    state = record.state
    if isinstance(record, Array):
        try:
            return _array(state)
        except (OverflowError, TypeError, ValueError) as error:
            raise UnusableCheckpointError(
                f"{path}: an array in it is damaged, or not one of numbers"
            ) from error
    if isinstance(state, Mapping):
        for name in ("_content", "_val"):
            if name in state:
                return state[name]
        if not record.arguments and state:
            return dict(state)
    if len(record.arguments) == 1 and not state:
        return record.arguments[0]
    raise UnusableCheckpointError(f"{path}: a {type(record).__name__} in it has no plain form")


def _dereferenced(value: Any, root: Mapping[str, Any], path: Any) -> Any:
    """`value` with what `${model.dropout}` and the like name; others are left, to be refused."""
    if isinstance(value, dict):
        return {key: _dereferenced(item, root, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_dereferenced(item, root, path) for item in value]
    for _ in range(_MOST_REFERENCES):
        reference = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if reference is None:
            return value
        value = root
        for name in reference.group(1).split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
    raise UnusableCheckpointError(f"{path}: settings in it refer to each other in a circle")
