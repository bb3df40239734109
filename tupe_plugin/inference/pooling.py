"""From the features of a row's tokens to the features of the row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .text_errors import TextError

if TYPE_CHECKING:  # the command line reads the table, without torch
    from torch import Tensor

Pooling = Callable[["Tensor", "Tensor"], "Tensor"]


def _mean(features: Tensor, padding: Tensor) -> Tensor:
    """Over the tokens of each row that are no padding, `<s>` and `</s>` among them."""
    kept = (~padding).unsqueeze(-1)
    return features.masked_fill(~kept, 0.0).sum(1) / kept.sum(1)


POOLINGS: dict[str, Pooling] = {
    "mean": _mean,
    "cls": lambda features, padding: features[:, 0],
}
"""Features `(rows, seq, embed)` and padding `(rows, seq)`, True = padding -> `(rows, embed)`."""


def check_pooling(pooling: str | None) -> None:
    """Refuse what is neither in the table nor None, which is by token.

    Raises:
        TextError: it is neither.
    """
    if pooling not in (*POOLINGS, None):
        raise TextError(f"pooling={pooling!r}: give {', '.join(POOLINGS)} or None")
