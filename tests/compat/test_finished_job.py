"""When a job that is started again has nothing left to do; a whole one is in end_to_end/."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fairseq_cli.train import should_stop_early

from tupe_plugin.compat.finished_job import why_finished

HOUR = 3600.0
UNLIMITED = {"max_update": 0, "max_epoch": 0, "stop_time_hours": 0.0, "patience": -1}


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({}, None),
        ({"max_update": 17, "max_epoch": 3, "stop_time_hours": 2.5}, None),
        ({"max_update": 16}, "it has made 16 updates, and --max-update is 16"),
        ({"max_update": 11}, "it has made 16 updates, and --max-update is 11"),
        ({"max_epoch": 2}, "it has made 2 epochs, and --max-epoch is 2"),
        ({"stop_time_hours": 1.5}, "it has trained for 2 hours; --stop-time-hours 1.5"),
        ({"patience": 4}, None),
        ({"patience": 3}, "no better score in 3 validations, and --patience is 3"),
    ],
)
def test_the_reason_names_the_option(
    limits: dict[str, float], reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(should_stop_early, "num_runs", 3, raising=False)
    given = SimpleNamespace(**{**UNLIMITED, **limits})
    trainer = SimpleNamespace(
        get_num_updates=lambda: 16, cfg=SimpleNamespace(optimization=given, checkpoint=given)
    )
    epoch_itr = SimpleNamespace(next_epoch_idx=3)
    extra_state = {"previous_training_time": 2 * HOUR}
    assert why_finished(trainer, epoch_itr, extra_state) == reason
