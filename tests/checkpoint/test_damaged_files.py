"""A sample of `make fuzz`: damaged files end in one line, in every command that reads them."""

from __future__ import annotations

import logging
import shutil

import pytest
import torch

from tests.checkpoint.damaged_files import complaints, make_files, try_damaged_files

READ_SETTINGS = (  # commands that read more of them than the model's
    *("fairseq-train", "fairseq-validate", "predict", "average", "average --evaluate", "export"),
    "delta save, tuned",
)
SETTINGS = (  # of the part of a job, and a value; None removes it
    ("task", "init_token", -5),
    ("task", "separator_token", 10**6),
    ("task", "unknown", 1),
    ("criterion", "unknown", 1),
    ("common", "seed", "x"),
    ("common", None, None),
    ("checkpoint", None, None),
    ("task", None, None),
)

pytestmark = pytest.mark.slow


def test_damaged_files_end_in_one_line(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    logging.disable(logging.INFO)
    try:
        files = make_files(tmp_path)
        for whole in (files.base, files.tuned, files.delta):  # nothing is said of these
            assert list(complaints(files, whole)) == []
        for folder in files.theirs:
            shutil.copytree(folder, tmp_path / "damaged", dirs_exist_ok=True)
            assert list(complaints(files, tmp_path / "damaged" / "config.json")) == []
            shutil.rmtree(tmp_path / "damaged")
        for part, name, value in SETTINGS:
            state = torch.load(files.tuned, weights_only=True)
            state["cfg"][part] = None if name is None else {**state["cfg"][part], name: value}
            torch.save(state, tmp_path / "damaged.pt")
            found = complaints(files, tmp_path / "damaged.pt", only=READ_SETTINGS)
            assert list(found) == [], (part, name)
        assert list(try_damaged_files(files, number=15, seed=0)) == []
    finally:
        logging.disable(logging.NOTSET)
