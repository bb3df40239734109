"""Logs the parts of a loss beside it, in fairseq's unit: nats / log 2 for each row of the loss."""

import math
from typing import Any

from fairseq.logging import metrics

TERMS = ("task_loss", "rdrop_divergence", "adversarial_loss")


def log_loss_terms(logging_outputs: list[dict[str, Any]]) -> None:
    """Log the terms that training steps have reported; validation reports none."""
    sample_size = sum(log.get("sample_size", 0) for log in logging_outputs)
    for name in TERMS:
        if any(name in log for log in logging_outputs):
            total = sum(log.get(name, 0) for log in logging_outputs)
            value = total / sample_size / math.log(2)
            metrics.log_scalar(name, value, sample_size, round=6)
