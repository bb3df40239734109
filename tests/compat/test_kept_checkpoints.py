"""Which checkpoints `--keep-*` leaves after several validations, and after a resume."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.dataclass.configs import CheckpointConfig
from omegaconf import OmegaConf

MAXIMIZE = {"maximize_best_checkpoint_metric": True}


class Run:
    """An epoch is ten updates and ends with a save; so does its fourth update, if asked."""

    def __init__(self, folder: Path, **options: Any):
        vars(checkpoint_utils.save_checkpoint).clear()  # its memory of the best: a new process
        settings = vars(CheckpointConfig()) | {
            "save_dir": str(folder),
            "no_epoch_checkpoints": True,
        }
        self.cfg = OmegaConf.create({**settings, "best_checkpoint_metric": "mcc", **options})
        self.updates = 0

    def save(self, epoch: int, updates: int, score: float) -> None:
        trainer = SimpleNamespace(
            data_parallel_rank=0,
            checkpoint_suffix="",
            should_save_checkpoint_on_current_rank=True,
            consolidate_optimizer=lambda: None,
            get_num_updates=lambda: updates,
            save_checkpoint=lambda path, extra_state: torch.save(
                {"optimizer_history": [{"num_updates": updates}]}, path
            ),
        )
        iterator = SimpleNamespace(
            epoch=epoch, end_of_epoch=lambda: updates % 10 == 0, state_dict=dict
        )
        checkpoint_utils.save_checkpoint(self.cfg, trainer, iterator, score)


def kept(folder: Path) -> list[float]:
    """The scores of the best checkpoints, to three decimals; what follows tells ties apart."""
    names = [
        re.fullmatch(r"checkpoint\.best_mcc_(.*\.\d{3})\d\.pt", p.name) for p in folder.iterdir()
    ]
    return sorted(float(name[1]) for name in names if name)


@pytest.mark.parametrize("resumed_after", [None, 2])
@pytest.mark.parametrize(
    ("scores", "options", "expected"),
    [
        ([0.9, 0.8, 0.7, 0.6], MAXIMIZE, [0.7, 0.8, 0.9]),
        ([0.6, 0.9, 0.7, 0.8], MAXIMIZE, [0.7, 0.8, 0.9]),
        ([-0.5, -0.2, 0.1, -0.3], MAXIMIZE, [-0.3, -0.2, 0.1]),
        ([4.0, 1.5, 2.5, 3.5], {}, [1.5, 2.5, 3.5]),
        ([-1.0, -3.0, -2.0, -4.0], {}, [-4.0, -3.0, -2.0]),
        ([0.0] * 7, MAXIMIZE, [0.0, 0.0, 0.0]),
        ([0.0] * 7, {"no_last_checkpoints": True}, [0.0, 0.0, 0.0]),
        ([float("nan"), float("inf"), 2.0], {}, [2.0]),
    ],
)
def test_the_best_are_kept(
    tmp_path: Path,
    scores: list[float],
    options: dict[str, Any],
    expected: list[float],
    resumed_after: int | None,
) -> None:
    run = Run(tmp_path, keep_best_checkpoints=3, **options)
    for epoch, score in enumerate(scores, 1):
        run.save(epoch, 10 * epoch, score)
        if epoch == resumed_after:
            run = Run(tmp_path, keep_best_checkpoints=3, **options)
            run.save(epoch, 10 * epoch, score)  # killed before the last file: made once more
    assert kept(tmp_path) == expected


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for first, last in ((1, 2), (3, 5)):  # the second time resumed
        run = Run(
            tmp_path,
            no_epoch_checkpoints=False,
            keep_last_epochs=2,
            save_interval_updates=4,
            keep_interval_updates=1,
            keep_interval_updates_pattern=12,
        )
        for epoch in range(first, last + 1):
            for updates in (10 * epoch - 6, 10 * epoch - 2, 10 * epoch):
                run.save(epoch, updates, 0.5)
    names = {path.name for path in tmp_path.iterdir()} - {
        "checkpoint_best.pt",
        "checkpoint_last.pt",
    }
    newest_epochs, newest_updates = {"checkpoint4.pt", "checkpoint5.pt"}, {"checkpoint_5_44.pt"}
    multiples_of_12 = {"checkpoint_3_24.pt", "checkpoint_5_48.pt"}
    assert names == newest_epochs | newest_updates | multiples_of_12
