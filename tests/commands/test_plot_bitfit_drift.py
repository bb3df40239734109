"""`tupe plot bitfit-drift`: from a log, from two checkpoints, and what the picture shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.sweep.some_runs import a_run
from tupe_plugin.commands.plot_bitfit_drift import compare_checkpoints, draw_drift, read_drift
from tupe_plugin.sweep.fairseq_log import UnreadableLogError

from .test_delta import make  # noqa: F401  a fixture
from .test_plot import call, has_colour, pixels

pytest.importorskip("matplotlib", reason="pictures need matplotlib (the extra `plot`)")


def write_log(path: Path, *validations: dict[str, float]) -> Path:
    lines = []
    for update, values in enumerate(validations, start=1):
        pairs = {"num_updates": update, **values}.items()
        body = ", ".join(f'"valid_{name}": "{value}"' for name, value in pairs)
        lines.append(f"2026-01-02 03:04:05 | INFO | valid | {{{body}}}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_the_last_validation_of_a_log_counts(tmp_path: Path) -> None:
    log = write_log(
        tmp_path / "train.log",
        {"loss": 3.0, "bias_drift_0_query": 0.1},
        {"loss": 2.0, "bias_drift_0_query": 0.2, "bias_drift_embedding_layer_norm": 0.3},
    )
    drift, updates = read_drift(log)
    assert drift == {("0", "query"): 0.2, ("embedding", "layer_norm"): 0.3}
    assert updates == 2
    run = a_run(0.25)
    run.validations[-1].scores["bias_drift_0_query"] = 0.5
    run.write(tmp_path)
    assert read_drift(tmp_path) == ({("0", "query"): 0.5}, 10)


def test_a_log_without_drift_says_how_to_get_one(tmp_path: Path, capsys) -> None:
    log = write_log(tmp_path / "train.log", {"loss": 3.0})
    with pytest.raises(UnreadableLogError, match="--criterion bitfit"):
        read_drift(log)
    assert call("bitfit-drift", log, "-o", tmp_path / "a.png") == 1
    assert call("bitfit-drift", log, log, log, "-o", tmp_path / "a.png") == 1
    assert "one log or two checkpoints, not 3 files" in capsys.readouterr().err


def test_two_checkpoints_are_compared(make, tmp_path: Path) -> None:  # noqa: F811
    def change(model) -> None:
        layer = model.encoder.sentence_encoder.layers[1]
        layer.fc1.bias += torch.tensor([0.7, -0.7, 0, 0, 0, 0, 0])

    base, tuned = make("base.pt"), make("tuned.pt", change=change)
    drift = compare_checkpoints(base, tuned)
    assert drift.pop(("1", "intermediate")) == pytest.approx(0.2)
    assert set(drift.values()) == {0.0}
    assert len(drift) == 2 * 7 - 1 + 1
    assert call("bitfit-drift", base, tuned, "-o", tmp_path / "a.png") == 0


def test_checkpoints_of_other_sizes_are_refused(make, tmp_path: Path, capsys) -> None:  # noqa: F811
    base, tuned = make("base.pt"), make("tuned.pt", encoder_layers=3)
    assert call("bitfit-drift", base, tuned, "-o", tmp_path / "a.png") == 1
    assert "models of different sizes" in capsys.readouterr().err


def area(image: np.ndarray, colour: str) -> float:
    """Share of the pixels that have it."""
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return float((np.abs(image[..., :3] - rgb).max(axis=-1) < 0.01).mean())


def test_the_picture_shows_small_large_and_absent(tmp_path: Path) -> None:
    small, large, absent = "#f7fbff", "#08306b", "#ebebeb"
    full = {(str(layer), role): 0.0 for layer in range(3) for role in ("query", "output")}
    draw_drift({**full, ("1", "output"): 0.5}, tmp_path / "full.png", title="")
    image = pixels(tmp_path / "full.png")
    assert has_colour(image, small)
    assert has_colour(image, large)
    assert area(image, absent) < 0.01  # no more than the edges of letters
    draw_drift({**full, ("embedding", "layer_norm"): 0.5}, tmp_path / "gaps.png", title="")
    gaps = pixels(tmp_path / "gaps.png")
    assert area(gaps, absent) > 0.05
    assert gaps.shape[0] > image.shape[0]  # a row more


def test_layers_stand_in_their_order(tmp_path: Path) -> None:
    """Twelve layers, the last with the largest drift: dark at the right, though "10" < "2"."""
    drift = {(str(layer), "query"): float(layer) for layer in range(12)}
    draw_drift(drift, tmp_path / "a.png", title="")
    image = pixels(tmp_path / "a.png")
    middle = image[image.shape[0] // 2, :, 0]  # red falls with the drift
    cells = middle[len(middle) // 5 : 7 * len(middle) // 10]
    assert cells[0] - cells[-1] > 0.3
    assert (cells[1:] <= cells[:-1] + 0.02).all()
