"""Common mistakes: the last line of the output says in one line what is wrong, and what to do.

`fairseq-train` runs in this process; what it raises is what Python would print last.
"""

from __future__ import annotations

import shutil

import pytest

from .sentence_task import write_sentence_task
from .training_jobs import fine_tuning, pretraining

pytestmark = pytest.mark.slow


def test_fewer_positions_than_the_checkpoint(last_line, corpus, pretrained, tmp_path):
    checkpoint = pretrained.checkpoints / "checkpoint_last.pt"
    job = fine_tuning(corpus.classification, tmp_path, "--restore-file", checkpoint)
    assert last_line([*job, "--max-epoch", 1, "--max-positions", 24]).endswith(
        f"checkpoint {checkpoint} does not fit this model: the checkpoint has 32 positions, the "
        "model 24: give --max-positions (in hydra: +model.max_positions) the value of the "
        "pre-training; it was written with --max-positions 32 (here 24)"
    )


def test_other_width_than_the_checkpoint(last_line, corpus, pretrained, tmp_path):
    checkpoint = pretrained.checkpoints / "checkpoint_last.pt"
    job = fine_tuning(corpus.classification, tmp_path, "--finetune-from-model", checkpoint)
    line = last_line([*job, "--max-epoch", 1, "--encoder-embed-dim", 24])
    assert "parameters have other sizes (encoder.sentence_encoder.embed_tokens.weight: " in line
    assert line.endswith("it was written with --encoder-embed-dim 16 (here 24)")


def test_another_setting_than_the_checkpoint(last_line, corpus, pretrained, tmp_path):
    """No size tells it, so fairseq loads the checkpoint and trains on."""
    checkpoint = pretrained.checkpoints / "checkpoint_last.pt"
    job = fine_tuning(corpus.classification, tmp_path, "--finetune-from-model", checkpoint)
    assert last_line([*job, "--max-epoch", 1, "--layer-norm-eps", 1e-12]) == (
        f"fairseq-train: error: checkpoint {checkpoint} does not fit this model: it was written "
        "with --layer-norm-eps 1e-05 (here 1e-12): give --layer-norm-eps 1e-05"
    )


def test_other_dictionary_than_the_checkpoint(last_line, pretrained, tmp_path):
    pairs = [("a few other words", "label0"), ("and these", "label1")] * 9
    data = write_sentence_task(tmp_path, {"train": pairs, "valid": pairs})
    checkpoint = pretrained.checkpoints / "checkpoint_last.pt"
    line = last_line([*fine_tuning(data, tmp_path, "--restore-file", checkpoint), "--max-epoch", 1])
    assert "does not fit this model: the checkpoint has 49 symbols, the model " in line
    assert "train with the dictionary of the pre-training" in line


def test_missing_restore_file(last_line, corpus, tmp_path):
    """fairseq alone trains from scratch without a warning."""
    job = fine_tuning(corpus.classification, tmp_path, "--restore-file", "nowhere.pt")
    assert last_line([*job, "--max-epoch", 1]) == (
        "fairseq-train: error: --restore-file nowhere.pt does not exist: correct the path, or "
        "leave the option out to train from scratch"
    )


@pytest.mark.parametrize("option", ["--restore-file", "--finetune-from-model"])
def test_a_folder_in_the_place_of_a_checkpoint(option, last_line, corpus, tmp_path):
    """fairseq alone trains from random weights without a warning."""
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text("{}")
    job = fine_tuning(corpus.classification, tmp_path / "save", option, tmp_path / "bert")
    line = last_line([*job, "--max-epoch", 1])
    assert f"{tmp_path / 'bert'} is a folder of Hugging Face's transformers: make" in line
    assert f"`tupe import {tmp_path / 'bert'} -o OUT`, and give OUT/checkpoint.pt" in line


def test_a_last_checkpoint_that_is_a_link_to_nothing(last_line, corpus, tmp_path):
    (tmp_path / "checkpoint_last.pt").symlink_to(tmp_path / "gone.pt")
    line = last_line(pretraining(corpus.pretraining, tmp_path, "--max-update", 1))
    assert "is not there: mend or remove it" in line


@pytest.mark.parametrize("length", [0, 20_000])
def test_damaged_checkpoint(length, last_line, corpus, pretrained, tmp_path):
    last, other = tmp_path / "checkpoint_last.pt", tmp_path / "checkpoint_2_10.pt"
    shutil.copy(pretrained.checkpoints / "checkpoint_2_10.pt", other)
    last.write_bytes(other.read_bytes()[:length])
    line = last_line(pretraining(corpus.pretraining, tmp_path, "--max-update", 20))
    assert line.endswith(
        f"{last} ({length:,} bytes) is no checkpoint, or an incomplete one: to go on from the "
        f"newest whole one beside it, run `cp {other} {last}`"
    )
    last.write_bytes(b"")
    other.unlink()
    line = last_line(pretraining(corpus.pretraining, tmp_path, "--max-update", 20))
    assert line.endswith("an incomplete one, and there is no whole one beside it")


def test_missing_data(last_line, tmp_path):
    job = pretraining(tmp_path / "nowhere", tmp_path, "--max-update", 1)
    assert last_line(job) == (
        f"fairseq-train: error: there is no folder {tmp_path / 'nowhere'}: give a folder of "
        "binarised data (preprocess/README.md)"
    )
