"""`run.json`, what is known of one run: a sweep writes it, reports and plots read it.

    RUN/run.json    the fields of `RunRecord`, by name, with "format" in front and "best" behind

A number that is none (the loss of a run that has diverged), or that no float32 has, is null there,
and NaN here.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from ..compat.metric_direction import Metric
from ..core.bounds import COUNT, COUNT_OR_NONE, LEARNING_RATE, Number, Whole
from ..core.whole_file import whole_file
from .option_words import Options

RUN_FILE = "run.json"
FORMAT = 1

RUNNING = "running"
FINISHED = "finished"
DIVERGED = "diverged"
FAILED = "failed"
INTERRUPTED = "interrupted"
STATES = (RUNNING, FINISHED, DIVERGED, FAILED, INTERRUPTED)

SEED = Whole(0, 2**31 - 1)
Seconds = Annotated[float, Number(0, 1e10)]  # refused outside of it when it is read
Count = Annotated[int, COUNT_OR_NONE]
_LARGEST = 3.4e38  # float32's: pictures and sums stay within float64's range

_OTHER_NAMES = {Metric: {"more_is_better": "higher_is_better"}}  # ours -> in the file


class UnreadableRunError(ValueError):
    """A `run.json` cannot be used; the message names it and says why."""


def is_number(value: float) -> bool:
    """Whether a score is one that a table or a picture can have."""
    return math.isfinite(value) and abs(value) <= _LARGEST


@dataclass(frozen=True)
class Validation:
    """One validation of the whole dev set."""

    update: Annotated[int, COUNT]
    epoch: Count
    seconds: Seconds
    """Of training up to here, over all attempts."""
    scores: dict[str, float]
    """`loss`, and every metric of the criterion."""


@dataclass(frozen=True)
class TrainPoint:
    """The training loss at one update."""

    update: Count
    seconds: Seconds
    loss: float


@dataclass(frozen=True)
class RunRecord:
    """One run: what it was, how it went.

    One that has ended without a score has not finished, whatever is said of it.
    """

    key: str
    """Hash of everything that decides its scores."""
    task: str
    model: str
    strategy: str
    lr: Annotated[float, LEARNING_RATE]
    seed: Annotated[int, SEED]
    setting: Options
    """Further options that were searched, by name."""
    command: tuple[str, ...]
    configuration: dict[str, Any]
    versions: dict[str, str]
    hardware: str
    metric: Metric
    state: str
    reason: str = ""
    """Of a state that is not `finished`, in one line."""
    attempts: Count = 1
    validations: tuple[Validation, ...] = ()
    train: tuple[TrainPoint, ...] = ()
    seconds: Seconds = 0.0
    """Of training, over all attempts."""
    peak_memory: Annotated[int, Whole(0, 2**60)] | None = None
    """Bytes; None where nobody has measured them."""
    updates: Count = 0
    parent: str | None = None
    """The key of the run from which this one is made, such as an average of its checkpoints."""

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise UnreadableRunError(f"state is {self.state!r}, and should be one of {STATES}")
        for validation in self.validations:
            if self.metric.name not in validation.scores:
                raise UnreadableRunError(
                    f"the validation at update {validation.update} has no {self.metric.name}"
                )
        if self.state == FINISHED and self.best is None:
            state, reason = FAILED, "it has ended without a validation"
            if self.validations:
                state, reason = DIVERGED, f"no validation has a number as its {self.metric.name}"
            object.__setattr__(self, "state", state)
            object.__setattr__(self, "reason", reason)

    @property
    def best(self) -> int | None:
        """The validation with the best metric; the last of equals, as fairseq keeps it."""
        goodness = [self.metric.goodness(one.scores[self.metric.name]) for one in self.validations]
        finite = [number for number, value in enumerate(goodness) if is_number(value)]
        return max(finite, key=lambda number: (goodness[number], number), default=None)

    @property
    def best_scores(self) -> dict[str, float]:
        """Those of the best validation; none of a run without one."""
        return {} if self.best is None else self.validations[self.best].scores

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """From a `run.json`, or from the folder that has it.

        Raises:
            UnreadableRunError: it is damaged, or of another format.
            OSError: it cannot be read.
        """
        path = path / RUN_FILE if path.is_dir() else path
        try:
            text = path.read_text(encoding="utf-8")
            fields = json.loads(text, parse_constant=lambda name: None)  # NaN, Infinity
        except (ValueError, RecursionError) as error:
            raise UnreadableRunError(f"{path} is no JSON file: {error}") from error
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            found = fields.get("format") if isinstance(fields, dict) else None
            raise UnreadableRunError(f"{path}: format is {found!r}, and this reads {FORMAT}")
        best = fields.pop("best", None)
        try:
            record: RunRecord = _value_of(
                cls, {name: value for name, value in fields.items() if name != "format"}, ""
            )
            if best != record.best:
                raise UnreadableRunError(f"best is {best}, and of its validations {record.best} is")
        except UnreadableRunError as error:
            raise UnreadableRunError(f"{path}: {error}") from error
        return record

    def write(self, path: Path) -> None:
        """To a `run.json`, or to the folder that is to have it: whole, or not at all.

        Raises:
            OSError: it cannot be written.
        """
        path = path / RUN_FILE if path.is_dir() else path
        fields = {"format": FORMAT, **_json_of(self), "best": self.best}
        with whole_file(path) as unfinished:
            unfinished.write_text(
                json.dumps(fields, indent=1, allow_nan=False) + "\n", encoding="utf-8"
            )


def _json_of(value: Any) -> Any:
    """With null for numbers that are none, which no JSON file has."""
    if dataclasses.is_dataclass(value):
        names = _names_in_the_file(type(value))
        return {theirs: _json_of(getattr(value, ours)) for ours, theirs in names.items()}
    if isinstance(value, Mapping):
        return {name: _json_of(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_json_of(entry) for entry in value]
    return None if isinstance(value, float) and not is_number(value) else value


def _value_of(kind: Any, value: Any, where: str) -> Any:
    """What `_json_of` has made such a value of.

    Raises:
        UnreadableRunError: it has another form; the message says where.
    """
    if dataclasses.is_dataclass(kind):
        return _dataclass_of(kind, _of_type(value, dict, where), where)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        found, bound = _value_of(inner[0], value, where), inner[1]
        if bound.problem(found) is not None:
            shown = "no number" if found != found else repr(found)
            raise UnreadableRunError(f"{where} is {shown}, and should be {bound}")
        return found
    if origin is tuple:
        entries = enumerate(_of_type(value, list, where))
        return tuple(_value_of(inner[0], entry, f"{where}[{number}]") for number, entry in entries)
    if origin is dict:
        entries = _of_type(value, dict, where).items()
        return {name: _value_of(inner[1], entry, f"{where}.{name}") for name, entry in entries}
    if type(None) in inner:
        return None if value is None else _value_of(inner[0], value, where)
    if kind is float:
        number = math.nan if value is None else _of_type(value, (int, float), where)
        try:
            return float(number) if is_number(number) else math.nan
        except OverflowError:
            raise UnreadableRunError(f"{where} is too large for a number") from None
    return value if kind is Any else _of_type(value, inner or kind, where)


def _dataclass_of(kind: Any, value: dict[str, Any], where: str) -> Any:
    hints, names = get_type_hints(kind, include_extras=True), _names_in_the_file(kind)
    place = f"{where}." if where else ""
    unknown = sorted(value.keys() - set(names.values()))
    missing = sorted(
        names[field.name]
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and names[field.name] not in value
    )
    for named, what in ((missing, "is missing"), (unknown, "is no field of a run")):
        if named:
            raise UnreadableRunError(f"{place}{named[0]} {what}")
    return kind(
        **{
            ours: _value_of(hints[ours], value[theirs], f"{place}{theirs}")
            for ours, theirs in names.items()
            if theirs in value
        }
    )


def _names_in_the_file(kind: Any) -> dict[str, str]:
    other = _OTHER_NAMES.get(kind, {})
    return {field.name: other.get(field.name, field.name) for field in dataclasses.fields(kind)}


def _of_type(value: Any, kind: Any, where: str) -> Any:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    is_yes_for_number = isinstance(value, bool) and bool not in kinds
    if not isinstance(value, kinds) or is_yes_for_number:
        expected = " or ".join(one.__name__ for one in kinds)
        raise UnreadableRunError(f"{where or 'it'} is {value!r}, and should be of type {expected}")
    return value
