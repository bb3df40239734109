"""`fairseq-train` with a `kill -9` at a chosen moment: `python killed_train.py MOMENT ARGUMENT...`

A signal from outside would come at another moment each time.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from fairseq import checkpoint_utils, file_io
from fairseq.trainer import Trainer
from fairseq_cli.train import cli_main

UPDATE = 10  # of `--save-interval-updates 5`


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def while_training() -> None:
    """Two updates after a checkpoint: gradients are there, parameters not yet changed."""
    original = Trainer.clip_grad_norm

    def clip_grad_norm(self, clip_norm):
        if self.get_num_updates() == UPDATE + 2:
            kill()
        return original(self, clip_norm)

    Trainer.clip_grad_norm = clip_grad_norm


def while_writing() -> None:
    """Half of the first file of a save is written."""
    original = checkpoint_utils._torch_persistent_save

    def save(state, file):
        if state["optimizer_history"][-1]["num_updates"] == UPDATE:
            original(state, file)
            file.truncate(file.tell() // 2)
            file.flush()
            kill()
        original(state, file)

    checkpoint_utils._torch_persistent_save = save


def while_copying() -> None:
    """The first file of a save is whole, half of its copy is written."""
    original = file_io.shutil.copyfile

    def copyfile(source, target):
        state = torch.load(source, weights_only=True)
        updates = state["optimizer_history"][-1]["num_updates"]
        if updates == UPDATE and Path(target).name.startswith("checkpoint_last"):
            content = Path(source).read_bytes()
            Path(target).write_bytes(content[: len(content) // 2])
            kill()
        return original(source, target)

    file_io.shutil.copyfile = copyfile


MOMENTS = {
    "training": while_training,
    "writing": while_writing,
    "copying to checkpoint_last": while_copying,
}

if __name__ == "__main__":
    MOMENTS[sys.argv.pop(1)]()
    cli_main()
