"""Heat map of how far fine-tuning moved each bias term, as in the BitFit paper.

A cell is the mean of |b_0 - b_F| over the features of one role in one layer (arXiv 2106.10199,
section 4): b_0 at the start of fine-tuning, b_F at the end. Read from the log of
`--criterion bitfit`, or computed from two checkpoints, however the second was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.encoder_checkpoint import read_encoder_checkpoint
from ..checkpoint.errors import UnusableCheckpointError
from ..core.bitfit import drift_of_metric, mean_drift
from ..core.encoder_family import ROLES
from ..sweep.fairseq_log import UnreadableLogError, refuse_what_is_no_log
from ..sweep.recorded_curves import read_curves
from ..sweep.run_record import RUN_FILE

Drift = dict[tuple[str, str], float]
"""(place, role) -> mean |b_0 - b_F|."""

_DPI = 150
_BEFORE_LAYERS, _AFTER_LAYERS = "embedding", "final"


def drift_of_scores(scores: Mapping[str, float]) -> Drift:
    """The drift among the scores of a validation; empty where it has none."""
    cells = {drift_of_metric(name): value for name, value in scores.items()}
    return {cell: value for cell, value in cells.items() if cell is not None}


def read_drift(log: Path) -> tuple[Drift, int]:
    """The drift at the last validation of a log that has one, and the number of updates by then.

    Raises:
        UnreadableLogError: the file is no log, or no validation in it has a drift.
    """
    if not (log / RUN_FILE).is_file():
        refuse_what_is_no_log(log, "give two checkpoints, BASE TUNED, or a log of fairseq-train")
    for curve in read_curves(log).valid.values():
        for update, validation in sorted(curve.items(), reverse=True):
            if drift := drift_of_scores(validation):
                return drift, update
    raise UnreadableLogError(
        f"{log}: no validation in it tells the drift of bias terms: train with --criterion bitfit "
        "and --bitfit-terms, or give two checkpoints, the base and the tuned one"
    )


def compare_checkpoints(base: Path, tuned: Path) -> Drift:
    """The drift of every bias term between two checkpoints.

    Raises:
        CheckpointError: one has no encoder of a known family, or they do not fit.
    """
    first, last = (read_encoder_checkpoint(path) for path in (base, tuned))
    before, after, terms = first.encoder, last.encoder, last.names.biases
    if any(before[t.key].shape != after[t.key].shape if t.key in before else True for t in terms):
        raise UnusableCheckpointError(f"{base} and {tuned} are models of different sizes")
    return mean_drift(terms, before, after)


def draw_drift(drift: Mapping[tuple[str, str], float], output: Path, *, title: str) -> None:
    """Write the picture.

    Raises:
        OSError: the file cannot be written.
        ValueError: its ending names no format of pictures.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_of_drift(drift), layout="constrained")
    FigureCanvasAgg(figure)
    put_drift(figure, drift).set_title(title, fontsize="medium")
    figure.savefig(output, dpi=_DPI)


def size_of_drift(drift: Mapping[tuple[str, str], float]) -> tuple[float, float]:
    """Width and height in inches of a figure for it."""
    places, roles = _places(drift), _roles(drift)
    return max(2.6 + 0.55 * len(places), 5.0), 1.7 + 0.4 * len(roles)


def put_drift(figure: Any, drift: Mapping[tuple[str, str], float]) -> Any:
    """Put a row for each role and a column for each place on a figure; no cell, no such term."""
    places, roles = _places(drift), _roles(drift)
    values = [[drift.get((place, role), float("nan")) for place in places] for role in roles]
    axes = figure.subplots()
    axes.grid(False)
    image = axes.imshow(values, cmap="Blues", vmin=0.0, aspect="auto", interpolation="nearest")
    axes.set_facecolor("0.92")  # what is not there
    axes.set_xticks(range(len(places)), [_label(place) for place in places], fontsize="small")
    axes.set_yticks(range(len(roles)), [role.replace("_", " ") for role in roles])
    axes.set_xlabel("layer")
    axes.tick_params(length=0)
    bar = figure.colorbar(image, ax=axes)
    bar.set_label(r"mean $|b_0 - b_F|$")
    bar.ax.yaxis.label.set_parse_math(True)  # whatever the surroundings say of names
    return axes


def _places(drift: Mapping[tuple[str, str], float]) -> list[str]:
    return sorted({place for place, _ in drift}, key=_order)


def _roles(drift: Mapping[tuple[str, str], float]) -> list[str]:
    return [role for role in ROLES if any(role == other for _, other in drift)]


def _order(place: str) -> tuple[int, int]:
    if place in (_BEFORE_LAYERS, _AFTER_LAYERS):
        return (-1 if place == _BEFORE_LAYERS else 1, 0)
    return (0, int(place))


def _label(place: str) -> str:
    return {_BEFORE_LAYERS: "emb.", _AFTER_LAYERS: "final"}.get(place, place)
