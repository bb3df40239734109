"""Heat maps of the learned positional correlation, a panel for each head, as in the TUPE paper.

A cell is what the positions of a query and a key add to their attention logit: the untied absolute
correlation, and the relative bias where there is one (arXiv 2006.15595, equations 7 to 10). Row and
column 0 are [CLS], which has a value of its own in each direction. All layers share it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, no_grad

from ..checkpoint.encoder_checkpoint import chosen_positions, read_encoder_checkpoint
from ..core.position_scheme import PositionEncoding, PositionScheme
from ..core.views.tupe import TUPE

DEFAULT_LENGTH = 64
_PREFIX = "positions."
_COLUMNS = 4
_DPI = 150


class NoPositionsError(ValueError):
    """A checkpoint from which no positional correlation can be drawn; the message says why."""


@dataclass(frozen=True)
class LearnedPositions:
    """The scheme's name and its term in the logits, `(heads, query, key)`."""

    scheme: str
    attn_bias: Tensor


def read_positions(checkpoint: Path, *, length: int | None = None) -> LearnedPositions:
    """Read a checkpoint of `fairseq-train` or of the TUPE authors; no dictionary is needed.

    Raises:
        CheckpointError: it is no (whole, safe) checkpoint with an encoder of a known family.
        NoPositionsError: it is of no tupe model, its scheme adds nothing to the logits, or it has
            fewer positions than `length`.
    """
    read = read_encoder_checkpoint(checkpoint)
    if read.names.family is not TUPE:
        arch = read.model.get("_name") or read.model.get("arch")
        model = f"--arch {arch}" if arch else read.names.family.name
        raise NoPositionsError(
            f"{checkpoint}: {model} has no term of positions in the attention logits, so "
            "there is nothing to draw; the tupe-* schemes and bert-r have one"
        )
    settings = read.model
    chosen = chosen_positions(settings)
    scheme: PositionScheme = chosen["scheme"]
    max_positions = int(settings["max_positions"])
    length = min(DEFAULT_LENGTH, max_positions) if length is None else length
    if not 2 <= length <= max_positions:
        raise NoPositionsError(
            f"{checkpoint}: --length {length} must be from 2 to its {max_positions} positions"
        )
    encoding = PositionEncoding(
        max_positions=max_positions,
        embed_dim=int(settings["encoder_embed_dim"]),
        num_heads=int(settings["encoder_attention_heads"]),
        **chosen,
    )
    encoding.load_state_dict(
        {
            key.removeprefix(_PREFIX): value
            for key, value in read.encoder.items()
            if key.startswith(_PREFIX)
        }
    )
    with no_grad():
        attn_bias = encoding.attn_bias(length)
    if attn_bias is None:
        raise NoPositionsError(
            f"{checkpoint}: position scheme {scheme.name} adds no bias to the attention logits, "
            "so there is no correlation to draw; the tupe-* schemes and bert-r do"
        )
    return LearnedPositions(scheme.name, attn_bias)


def draw_positions(attn_bias: Tensor, output: Path, *, title: str) -> None:
    """Write the picture of `(heads, query, key)`.

    Raises:
        OSError: the file cannot be written.
        ValueError: its ending names no format of pictures.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_of_positions(attn_bias), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    put_positions(figure, attn_bias)
    figure.savefig(output, dpi=_DPI)


def size_of_positions(attn_bias: Tensor) -> tuple[float, float]:
    """Width and height in inches of a figure for `(heads, query, key)`."""
    columns, rows = _grid(len(attn_bias))
    return 3.1 * columns + 1.2, 3.2 * rows + 0.6


def _grid(heads: int) -> tuple[int, int]:
    columns = min(heads, _COLUMNS)
    return columns, math.ceil(heads / columns)


def put_positions(figure: Any, attn_bias: Tensor) -> None:
    """Put a panel for each head of `(heads, query, key)` on a figure; all share one scale.

    The scale spans the cells between words. [CLS] can lie far outside, so where it is untied its
    two values stand above each panel.
    """
    heads, length, _ = attn_bias.shape
    columns, rows = _grid(heads)
    values = attn_bias.detach().float().cpu().numpy()
    words = values[:, 1:, 1:]
    ticks = _ticks(length)
    panels = figure.subplots(rows, columns, squeeze=False)
    for head, axes in enumerate(panels.flat):
        if head >= heads:
            axes.set_visible(False)
            continue
        axes.grid(False)
        image = axes.imshow(
            values[head],
            cmap="viridis",
            vmin=words.min(),
            vmax=words.max(),
            interpolation="nearest",
        )
        axes.set_title(f"head {head}" + _cls_values(values[head]), fontsize="small")
        labels = ["[CLS]" if tick == 0 else str(tick) for tick in ticks]
        axes.set_xticks(ticks, labels, fontsize="small")
        axes.set_yticks(ticks, labels, fontsize="small")
        if head % columns == 0:
            axes.set_ylabel("query position")
        if head + columns >= heads:
            axes.set_xlabel("key position")
    below, above = values.min() < words.min(), values.max() > words.max()
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(
        (bool(below), bool(above)), "neither"
    )
    bar = figure.colorbar(image, ax=panels, shrink=0.85, extend=extend)
    bar.set_label("added to the attention logit")


def _cls_values(bias: Any) -> str:
    """The two values of [CLS], as a second line of a title; empty where [CLS] is not untied."""
    row, column = bias[0], bias[1:, 0]
    if row.min() != row.max() or column.min() != column.max():
        return ""
    return f"\n[CLS] to all {row[0]:.2f}, all to [CLS] {column[0]:.2f}"


def _ticks(length: int) -> list[int]:
    """[CLS] and round positions, at most eight."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if length <= 7 * step)
    return list(range(0, length, step))
