"""What surrounds training: logs, TensorBoard, fairseq's other commands, checkpoints from Python."""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

import pytest
import torch

from .training_jobs import USER_DIR, logged, losses, pretraining

pytestmark = pytest.mark.slow


def read_scalars(folder):
    """(tag, step) -> value. A record of an event file: length, checksum, protobuf, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    scalars = {}
    for path in folder.glob("events.*"):
        content = path.read_bytes()
        start = 0
        while start < len(content):
            (length,) = struct.unpack_from("<Q", content, start)
            event = Event.FromString(content[start + 12 : start + 12 + length])
            scalars.update({(one.tag, event.step): one.simple_value for one in event.summary.value})
            start += 12 + length + 4
    return scalars


def test_tensorboard(pretrained):
    inner = read_scalars(pretrained.tensorboard / "train_inner")
    for entry in logged(pretrained.output, "train_inner"):
        step = int(entry["num_updates"])
        for name in ("loss", "lr", "gnorm"):
            assert inner[name, step] == pytest.approx(entry[name], abs=6e-4)
    valid = read_scalars(pretrained.tensorboard / "valid")
    last = logged(pretrained.output, "valid")[-1]
    assert valid["loss", 16] == pytest.approx(last["loss"], abs=6e-4)
    assert ("loss", 7) in read_scalars(pretrained.tensorboard / "train")  # end of the first epoch


def test_simple_log_and_log_file(corpus, pretrained, tmp_path, run_command):
    """In the second epoch, too, the file gets each line once."""
    job = pretraining(corpus.pretraining, tmp_path, "--max-update", 9, "--update-freq", 2)
    job += ["--no-save", "--log-format", "simple", "--log-file", str(tmp_path / "log.txt")]
    finished = run_command("fairseq-train", *job)
    entry = r"epoch 00[12]: .* loss=([\d.]+),.* num_updates=(\d+),"
    expected = [(str(loss), str(update)) for update, loss in losses(pretrained.output).items()][:9]
    assert re.findall(rf"\| INFO \| train_inner \| {entry}", finished.stdout) == expected
    assert re.findall(entry, (tmp_path / "log.txt").read_text()) == expected


def test_tqdm_log(corpus, tmp_path, run_command):
    """fairseq draws bars on a terminal only."""
    job = pretraining(corpus.pretraining, tmp_path, "--max-update", 3, "--update-freq", 2)
    in_a_terminal = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) != 0)"
    finished = run_command(
        *("python", "-c", in_a_terminal, "sh", "-c", 'stty rows 40 columns 150; exec "$@"', "sh"),
        *(Path(sys.executable).with_name("fairseq-train"), *job),
        *("--no-save", "--log-format", "tqdm"),
        env={"TQDM_MININTERVAL": "0"},
    )
    assert re.search(r"epoch 001: .*\d/7 \[.*, loss=[\d.]+", finished.stdout)


def test_validate(corpus, pretrained, run_command):
    """`fairseq-validate` finds the loss that training has found, with the same masks."""
    expected = logged(pretrained.output, "valid")[-1]["loss"]
    finished = run_command(
        *("fairseq-validate", corpus.pretraining, "--user-dir", USER_DIR, "--task", "masked_lm"),
        *("--path", pretrained.checkpoints / "checkpoint_last.pt", "--batch-size", 8),
        *("--log-format", "json", "--seed", 5),
    )
    assert logged(finished.stdout, "valid")[-1]["loss"] == expected


def test_hydra_train(corpus, tmp_path, run_command):
    """The architecture fills in the sizes that are not given; options may be given beside it. The
    criterion is forgotten.
    """
    finished = run_command(
        *("fairseq-hydra-train", f"hydra.run.dir={tmp_path}", f"common.user_dir={USER_DIR}"),
        *("task=masked_lm", f"task.data={corpus.pretraining}", "task.tokens_per_sample=32"),
        *("optimizer=adam", "lr_scheduler=fixed"),
        *("optimization.lr=[0.01]", "optimization.max_update=3", "dataset.batch_size=8"),
        *("common.log_format=json", "common.log_interval=1", "checkpoint.no_save=true"),
        *("+model._name=tupe_mini", "+model.rel_pos=true", "+model.encoder_layers=1"),
        "+model.max_positions=32",
    )
    assert "(relative): RelativePositionBias" in finished.stdout
    assert "Embedding(33, 256)" in finished.stdout
    assert "task=masked_lm without criterion takes criterion=masked_lm" in finished.stdout
    assert "criterion: MaskedLmLoss" in finished.stdout


def test_load_from_python(corpus, pretrained):
    from fairseq import checkpoint_utils, utils

    utils.import_user_module(type("Options", (), {"user_dir": str(USER_DIR)})())
    path = str(pretrained.checkpoints / "checkpoint_last.pt")
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
        [path], arg_overrides={"data": str(corpus.pretraining)}
    )
    task.load_dataset("valid")
    batch = task.dataset("valid").collater([task.dataset("valid")[0]])
    model.eval()
    with torch.no_grad():
        logits, _ = model(**batch["net_input"])
    assert logits.shape == (*batch["target"].shape, len(task.source_dictionary))
    assert logits.isfinite().all()
