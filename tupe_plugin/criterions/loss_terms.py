"""Logs the parts of a loss beside it, in fairseq's unit: nats / log 2 for each row of the loss."""

import math
from typing import Any

from fairseq.logging import metrics

_MARK = "loss_term "
"""Before the name of a term in a logging output; the log has the name without it."""


def loss_terms(**terms: Any) -> dict[str, Any]:
    """Parts of a summed loss, as entries of a logging output; one that is None is left out."""
    return {f"{_MARK}{name}": term.data for name, term in terms.items() if term is not None}


def term_of(log: dict[str, Any], name: str) -> Any:
    """A part of the loss, out of a logging output."""
    return log[f"{_MARK}{name}"]


def log_loss_terms(logging_outputs: list[dict[str, Any]]) -> None:
    """Log the terms that training steps have reported; validation reports none."""
    sample_size = sum(log.get("sample_size", 0) for log in logging_outputs)
    keys = {key: None for log in logging_outputs for key in log if key.startswith(_MARK)}
    for key in keys:
        total = sum(log.get(key, 0) for log in logging_outputs)
        value = total / sample_size / math.log(2)
        metrics.log_scalar(key.removeprefix(_MARK), value, sample_size, round=6)
