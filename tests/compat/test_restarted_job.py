"""What a job that names another checkpoint loads when `--save-dir` already holds one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.dataclass.configs import CheckpointConfig
from omegaconf import OmegaConf

RESETS = ("reset_optimizer", "reset_lr_scheduler", "reset_meters", "reset_dataloader")


class Loaded(Exception):
    """Raised in place of loading: (path, whether it is reset)."""


class Job:
    """As much of a trainer as fairseq's load_checkpoint sees before it loads."""

    checkpoint_suffix = ""

    def __init__(self, folder: Path, **settings: Any):
        self.cfg = OmegaConf.create(
            {
                "task": {"_name": "sentence_prediction", "data": str(folder / "CoLA-bin")},
                "model": {"_name": "tupe_tiny"},
                "criterion": {"_name": "sentence_prediction"},
                "common": {"seed": 1},
                "optimization": {"lr": [0.25], "max_epoch": 3},
                "dataset": {"batch_size": 8},
                "checkpoint": vars(CheckpointConfig()),
            }
        )
        self.cfg.checkpoint.save_dir = str(folder / "run")
        self.cfg.checkpoint.restore_file = str(folder / "pretrained.pt")
        for name in RESETS[:-1]:  # some, as the TUPE authors give some
            self.cfg.checkpoint[name] = True
        for name, value in settings.items():
            OmegaConf.update(self.cfg, name.replace("__", "."), value)

    def write(self, name: str = "checkpoint_last.pt") -> None:
        folder = Path(self.cfg.checkpoint.save_dir)
        folder.mkdir()
        torch.save({"cfg": OmegaConf.to_container(self.cfg)}, folder / name)

    def load_checkpoint(self, path: str, reset: bool, *rest: Any, **named: Any) -> None:
        raise Loaded(Path(path).name, reset)

    def start(self) -> tuple[str, bool]:
        with pytest.raises(Loaded) as loaded:
            checkpoint_utils.load_checkpoint(self.cfg.checkpoint, self)
        return loaded.value.args


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pretrained.pt").touch()
    return tmp_path


FINETUNE = {
    "checkpoint__restore_file": "checkpoint_last.pt",
    **{f"checkpoint__{name}": False for name in RESETS},
}


LAST, WOUND_BACK = ("checkpoint_last.pt", False), ("checkpoint_2_10.pt", True)


@pytest.mark.parametrize(
    ("change", "loaded"),
    [
        ({}, LAST),
        ({"dataset__batch_size": 7, "optimization__max_epoch": 9}, LAST),
        ({"checkpoint__restore_file": "{folder}/x/../pretrained.pt"}, LAST),
        ({**FINETUNE, "checkpoint__finetune_from_model": "{folder}/pretrained.pt"}, LAST),
        ({"checkpoint__restore_file": "{folder}/run/checkpoint_2_10.pt"}, WOUND_BACK),
        (
            {"checkpoint__restore_file": "{folder}/run/checkpoint_2_10.pt", "common__seed": 2},
            WOUND_BACK,
        ),
        ({"checkpoint__restore_file": "checkpoint_last.pt"}, ("checkpoint_last.pt", True)),
    ],
    ids=[
        "same command",
        "other batches",
        "other spelling",
        "finetune",
        "wound back",
        "other seed",
        "no start",
    ],
)
def test_what_a_second_start_loads(
    folder: Path, change: dict[str, Any], loaded: tuple[str, bool]
) -> None:
    change = {
        name: value.format(folder=folder) if isinstance(value, str) else value
        for name, value in change.items()
    }
    job = Job(folder, **change)
    first = Job(folder)
    first.write()
    for name in ("x", "run/checkpoint_2_10.pt"):
        (folder / name).mkdir()
    assert job.start() == loaded
    # fairseq writes the options as they were given: the third start is like the second
    assert [job.cfg.checkpoint[name] for name in RESETS] == [
        change.get(f"checkpoint__{name}", first.cfg.checkpoint[name]) for name in RESETS
    ]


def test_x_pt_begins_anew_and_leaves_another_model_alone(folder: Path) -> None:
    anew = Job(folder, checkpoint__restore_file="x.pt")
    assert anew.start() == ("x.pt", True)
    anew.write()
    assert anew.start() == ("x.pt", True)
    other = Job(folder, checkpoint__restore_file="x.pt", model___name="tupe_base")
    with pytest.raises(ValueError, match="was written by another job"):
        checkpoint_utils.load_checkpoint(other.cfg.checkpoint, other)


def test_a_trainer_of_another_program_gets_the_function_of_fairseq(folder: Path) -> None:
    job = Job(folder, dataset__batch_size=1)
    job.write()
    other = SimpleNamespace(cfg=object(), checkpoint_suffix="", load_checkpoint=job.load_checkpoint)
    with pytest.raises(Loaded) as loaded:
        checkpoint_utils.load_checkpoint(job.cfg.checkpoint, other)
    assert loaded.value.args == ("pretrained.pt", True)


def test_a_first_start_loads_what_is_named(folder: Path) -> None:
    assert Job(folder).start() == ("pretrained.pt", True)


@pytest.mark.parametrize("given", [{}, FINETUNE], ids=["restore-file", "finetune-from-model"])
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"task__data": "MRPC-bin"}, "DATA CoLA-bin, here MRPC-bin"),
        ({"task___name": "masked_lm"}, "--task sentence_prediction, here masked_lm"),
        ({"model___name": "tupe_base"}, "--arch tupe_tiny, here tupe_base"),
        ({"common__seed": 2}, "--seed 1, here 2"),
        ({"optimization__lr": [0.5]}, "--lr 0.25, here 0.5"),
        ({"model__bitfit_terms": "key"}, "--bitfit-terms query, here key"),
        ({"optimizer__mfac_parameters": "all"}, "--mfac-parameters biases, here all"),
        ({"optimizer__mfac_rest": "frozen"}, "--mfac-rest adam, here frozen"),
        ({"task__num_classes": 1}, "--num-classes 2, here 1"),
        ({"start": "other.pt"}, "it began from pretrained.pt, {option} is other.pt"),
    ],
)
def test_the_checkpoint_of_another_job_is_left_alone(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    change: dict[str, Any],
    complaint: str,
) -> None:
    monkeypatch.chdir(folder)
    (folder / "other.pt").touch()
    option = "--finetune-from-model" if given else "--restore-file"
    name = "checkpoint__finetune_from_model" if given else "checkpoint__restore_file"
    same = {**given, "task__data": "CoLA-bin", "optimization__lr": [0.25], name: "pretrained.pt"}
    same |= {"model__bitfit_terms": "query", "task__num_classes": 2}
    same |= {"optimizer__mfac_parameters": "biases", "optimizer__mfac_rest": "adam"}
    Job(folder, **same).write()
    change = {name if key == "start" else key: value for key, value in change.items()}
    with pytest.raises(ValueError, match=r"run/checkpoint_last\.pt was written by") as refused:
        checkpoint_utils.load_checkpoint((job := Job(folder, **same | change)).cfg.checkpoint, job)
    line = str(refused.value)
    assert f"another job ({complaint.format(option=option)}): name another --save-dir" in line
    same_kind = {"task__data", "common__seed", "optimization__lr", name}
    other_kind = set(change) - same_kind
    assert (f"or leave {option} out to go on from them" in line) != bool(other_kind)


CoLA = {"task__data": "data/CoLA-bin"}
BOOKS = {"task___name": "masked_lm", "task__data": "books/data-bin", **FINETUNE}


@pytest.mark.parametrize("name", ["checkpoint_last.pt", "checkpoint_best.pt"])
@pytest.mark.parametrize("option", ["restore_file", "finetune_from_model"])
def test_a_model_is_not_replaced_by_its_own_fine_tuning(
    folder: Path, option: str, name: str
) -> None:
    """README's fine-tuning with the --save-dir of its pre-training."""
    Job(folder, **BOOKS).write(name)
    given = {**FINETUNE, f"checkpoint__{option}": str(folder / "run" / "checkpoint_best.pt")}
    for change, differs in ((CoLA, True), ({**BOOKS, "task__data": "other"}, True), (BOOKS, False)):
        job = Job(folder, **{**change, **given})
        with pytest.raises((ValueError, Loaded)) as end:
            checkpoint_utils.load_checkpoint(job.cfg.checkpoint, job)
        assert (f"{name} was written by" in (line := str(end.value)) and "DATA " in line) == differs


@pytest.mark.parametrize(
    ("change", "refused", "told"),
    [
        ({"task___name": "masked_lm"}, "--task sentence_prediction, here masked_lm", ""),
        ({"model___name": "tupe_base"}, "--arch tupe_tiny, here tupe_base", ""),
        ({"criterion___name": "rdrop"}, "--criterion sentence_prediction, here rdrop", ""),
        ({"common__seed": 2}, "", "with other settings (--seed 1, here 2)"),
        ({"task__data": "MRPC-bin"}, "", "CoLA-bin, here MRPC-bin"),
        ({}, "", ""),
    ],
)
def test_without_a_start_a_job_goes_on_from_its_own_kind(
    folder: Path,
    change: dict[str, Any],
    refused: str,
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    Job(folder).write()
    job = Job(folder, **{**FINETUNE, **change})
    with pytest.raises((ValueError, Loaded)) as end:
        checkpoint_utils.load_checkpoint(job.cfg.checkpoint, job)
    assert end.errisinstance(Loaded) == (not refused)
    assert not refused or f"({refused}): name another --save-dir, or remove" in str(end.value)
    assert told in caplog.text
    assert bool(told) == bool(caplog.records)
