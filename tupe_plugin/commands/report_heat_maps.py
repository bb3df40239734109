"""The heat maps of a report: what models have learned of positions, and where biases have moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ..checkpoint.errors import CheckpointError
from ..sweep.arms import Arm
from ..sweep.report import Report
from ..sweep.report_pictures import Picture, svg_of
from ..sweep.run_record import RunRecord
from .plot_bitfit_drift import drift_of_scores, put_drift, size_of_drift
from .plot_positions import NoPositionsError, put_positions, read_positions, size_of_positions

CHECKPOINTS = ("checkpoint_best.pt", "checkpoint_last.pt")
MOST_OF_A_KIND = 6
_LENGTH = 48


def heat_maps_of(
    report: Report, folders: Mapping[Path, RunRecord]
) -> tuple[list[Picture], list[str]]:
    """Pictures, and a line on what is not shown: one run of each model, or of each strategy, is."""
    by_run = {id(run): folder for folder, run in folders.items()}
    arms = [row.arm for row in report.chosen if row.arm.counted]
    pictures: list[Picture] = []
    notes: list[str] = []
    for what, found in (
        ("positions", [*_positions(arms, by_run, notes)]),
        ("bitfit-drift", [*_drifts(arms)]),
    ):
        pictures += found[:MOST_OF_A_KIND]
        if left := found[MOST_OF_A_KIND:]:
            notes.append(f"{len(left)} more heat maps of `tupe plot {what}` are not on the page.")
    return pictures, notes


def _positions(arms: list[Arm], by_run: Mapping[int, Path], notes: list[str]) -> Iterator[Picture]:
    seen: set[str] = set()
    for arm in arms:
        folder = by_run[id(arm.counted[0])]
        kept = [folder / name for name in CHECKPOINTS if (folder / name).is_file()]
        if not kept or arm.question.model in seen:
            continue
        try:
            learned = read_positions(kept[0])
        except NoPositionsError:  # nothing to draw, nor in another run of this model
            seen.add(arm.question.model)
            continue
        except (CheckpointError, OSError) as error:
            notes.append(f"No heat map: {error}")
            continue
        seen.add(arm.question.model)
        bias = learned.attn_bias[:, :_LENGTH, :_LENGTH]
        width, height = size_of_positions(bias)
        yield Picture(
            f"Learned positional correlation of each head: {_name(arm)}",
            f"What {learned.scheme} adds to the attention logits of each query (row) and key "
            f"(column) position, for the first {bias.shape[1]} positions of each of "
            f"{len(bias)} heads; between words from {bias[:, 1:, 1:].min():.2f} to "
            f"{bias[:, 1:, 1:].max():.2f}",
            svg_of(partial(put_positions, attn_bias=bias), width=width, height=height),
        )


def _drifts(arms: list[Arm]) -> Iterator[Picture]:
    for arm in arms:
        drift = drift_of_scores(arm.counted[0].validations[-1].scores)
        if not drift:
            continue
        width, height = size_of_drift(drift)
        (place, role), most = max(drift.items(), key=lambda item: item[1])
        yield Picture(
            f"Drift of bias terms: {_name(arm)}",
            f"Mean change of each bias term by layer (column) and role (row); most, {most:.2g}, "
            f"of {role.replace('_', ' ')} in layer {place}",
            svg_of(partial(put_drift, drift=drift), width=width, height=height),
        )


def _name(arm: Arm) -> str:
    question = arm.question
    return f"{question.task}, {question.model}, {question.strategy}, seed {arm.counted[0].seed}"
