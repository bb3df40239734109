"""`python -m tupe_plugin.compat` tells what is patched, from the docstrings."""

from __future__ import annotations

import inspect

import pytest

from tupe_plugin.compat.__main__ import patches, summary, version_of, whole_text


def test_every_patch_says_where_and_when_and_what_is_done() -> None:
    for patch in patches():
        text = inspect.getdoc(patch) or ""
        if not text.startswith("The other half"):
            assert "Where:" in text, patch
            assert "When:" in text, patch


def test_the_summary_is_one_screen_and_names_all() -> None:
    lines = summary().splitlines()
    assert len(lines) <= 60
    assert all(len(line) <= 100 for line in lines if not line.startswith("Here:"))
    for patch in patches():
        if version_of(patch):
            shown = patch.__name__.replace("_", " ")
        else:
            shown = f" {patch.__module__.rpartition('.')[2]} "
        assert any(shown in line for line in lines), patch


def test_a_version_is_that_of_the_docstring() -> None:
    versions = {patch.__name__: version_of(patch) for patch in patches()}
    assert versions["say_what_kind_of_mask_it_is"] == "torch >= 1.13"
    assert versions["make_config_dataclasses_hashable"] == "Python >= 3.11"
    assert versions["open_log_file_once"] == ""


def test_the_whole_text_is_by_patch_or_by_file() -> None:
    assert "issues/4899" in whole_text(["say_what_kind_of_mask_it_is"])
    assert "issues/4899" in whole_text(["encoder_fast_path"])
    with pytest.raises(SystemExit, match="is called nothing"):
        whole_text(["nothing"])
