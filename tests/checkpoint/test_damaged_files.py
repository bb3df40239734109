"""A sample of `make fuzz`: damaged files end in one line, in every command that reads them."""

from __future__ import annotations

import logging

import pytest

from tests.checkpoint.damaged_files import complaints, make_files, try_damaged_files

pytestmark = pytest.mark.slow


def test_damaged_files_end_in_one_line(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    logging.disable(logging.INFO)
    try:
        files = make_files(tmp_path)
        for whole in (files.base, files.tuned, files.delta):  # nothing is said of these
            assert list(complaints(files, whole)) == []
        assert list(try_damaged_files(files, number=15, seed=0)) == []
    finally:
        logging.disable(logging.NOTSET)
