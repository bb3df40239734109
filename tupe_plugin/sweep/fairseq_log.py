"""Read the logs of `fairseq-train`: the training metrics at each update, and each validation's.

Understands `--log-format json` and `simple`, from a terminal's output and from `--log-file`, where
fairseq writes the message without the name of who says it.
"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from .run_record import is_number

TRAIN_TAG = "train_inner"
EPOCH_TAG = "train"  # fairseq's name for the summary of an epoch
_RECORD = re.compile(r"^[\d-]+ [\d:,]+ \| INFO \| (?P<tag>\w+) \| (?P<body>.*)$")
_BARE_SIMPLE = re.compile(r"^epoch \d+(?P<inner>:)?[ |]+(?:valid on '(?P<subset>\w+)' subset)?")
_COUNTER = re.compile(r'"(?P<tag>\w+)_num_updates"')
_SIMPLE_PAIR = re.compile(
    r"(?:^|[,|]?\s)(\w+)[= ](-?(?:\d[\d.]*(?:e[+-]?\d+)?|inf|nan))(?=[,\s]|$)"
)

Curve = dict[int, dict[str, float]]
"""Number of updates -> metrics."""


class UnreadableLogError(ValueError):
    """A file without a training record; the message names it and says what to do."""


@dataclass
class TrainingLog:
    """What one log tells, by the number of updates."""

    train: Curve = field(default_factory=dict)
    valid: dict[str, Curve] = field(default_factory=dict)
    """Subset (`valid`, `valid1` ...) -> curve; metrics without the subset's name in front."""

    def metrics(self) -> set[str]:
        """Names of all metrics anywhere in the log."""
        points = [*self.train.values()]
        for curve in self.valid.values():
            points += curve.values()
        return {name for point in points for name in point}


def read_log(path: Path) -> TrainingLog:
    """Read one log. Where a resumed run went over the same updates again, its figures win.

    Raises:
        UnreadableLogError: there is no such file, or no training record in it.
    """
    try:
        refuse_what_is_no_log(path)
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UnreadableLogError(f"{path}: {error.strerror}") from error
    log = TrainingLog()
    for line in text.replace("\r", "\n").splitlines():
        record = _RECORD.match(line)
        if record is not None:
            _add_record(log, record["tag"], record["body"])
        elif line.startswith("{"):
            _add_record(log, _tag_of_bare_json(line), line)
        elif (bare := _BARE_SIMPLE.match(line)) is not None:
            tag = TRAIN_TAG if bare["inner"] else bare["subset"] or EPOCH_TAG
            _add_record(log, tag, line)
    if not log.train and not log.valid:
        raise UnreadableLogError(
            f"{path}: no line of training in it; give the output of fairseq-train "
            "with --log-format json or simple"
        )
    return log


def refuse_what_is_no_log(path: Path, advice: str = "give the output of fairseq-train") -> None:
    """Say what is at a path that should be a log's, and what to do.

    Raises:
        UnreadableLogError: there is a folder or a checkpoint.
    """
    if path.is_dir():
        logs = sorted(path.glob("*.log"))
        example = f", such as {logs[0]}" if logs else ""
        raise UnreadableLogError(f"{path} is a folder: give a log of fairseq-train{example}")
    if zipfile.is_zipfile(path):
        raise UnreadableLogError(f"{path} is a checkpoint and no log: {advice}")


def _add_record(log: TrainingLog, tag: str, body: str) -> None:
    if tag == EPOCH_TAG:
        return
    prefix = f"{tag}_"
    pairs = _json_pairs(body) if body.startswith("{") else dict(_SIMPLE_PAIR.findall(body))
    metrics = {
        name.removeprefix(prefix): number
        for name, value in pairs.items()
        if (number := _number(value)) is not None
    }
    if "num_updates" not in metrics:  # some other message of a module of that name
        return
    update = int(metrics.pop("num_updates"))
    curve = log.train if tag == TRAIN_TAG else log.valid.setdefault(tag, {})
    curve[update] = metrics


def _tag_of_bare_json(line: str) -> str:
    """Whose metrics these are: all but a training record carry it as a prefix."""
    owner = _COUNTER.search(line)
    return TRAIN_TAG if owner is None else owner["tag"]


def _json_pairs(body: str) -> dict[str, object]:
    try:
        pairs = json.loads(body)
    except json.JSONDecodeError:  # cut off: the run was killed while it wrote
        return {}
    return pairs if isinstance(pairs, dict) else {}


def _number(value: object) -> float | None:
    """The value as a float; None for what is no number."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if is_number(number) else None
