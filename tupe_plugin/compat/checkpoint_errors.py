"""A checkpoint that cannot be used: fairseq hides the reason, or goes on without a word."""

from __future__ import annotations

import functools
import os
import re
import zipfile
from collections.abc import Mapping
from typing import Any

from .checkpoint_loading import UnsafeCheckpointError

DEFAULT_RESTORE_FILE = "checkpoint_last.pt"  # may be missing: the job is then a new one


class CheckpointMismatchError(RuntimeError):
    """A checkpoint holds the parameters of another model than the one to be trained."""


class DamagedCheckpointError(RuntimeError):
    """A checkpoint file is incomplete or no checkpoint at all."""


def say_why_a_checkpoint_does_not_fit(trainer: Any) -> None:
    """`Cannot load model parameters ...; please ensure that the architectures match.`

    Where: fairseq/trainer.py:580, for whatever goes wrong with the parameters.
    When: the model has other sizes, another dictionary, other heads than the checkpoint.
    Cure: the last line tells what differs, and by which options the two jobs differ.
    Upstream: https://github.com/facebookresearch/fairseq/issues/4590
    """
    original = trainer.Trainer.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(self: Any, filename: str, *rest: Any, **named: Any) -> Any:
        try:
            return original(self, filename, *rest, **named)
        except Exception as error:
            reason = error.__context__
            if reason is None or not str(error).startswith("Cannot load model parameters"):
                raise
            state = trainer.checkpoint_utils.load_checkpoint_to_cpu(filename)
            options = _different_options(state.get("cfg", {}).get("model"), self.cfg.model)
            raise CheckpointMismatchError(
                f"checkpoint {filename} does not fit this model: {_in_one_line(reason)}{options}"
            ) from reason

    trainer.Trainer.load_checkpoint = load_checkpoint


def refuse_unusable_files(checkpoint_utils: Any) -> None:
    """Training from scratch without a warning, or `OSError: Invalid argument`, `EOFError`.

    Where: fairseq/checkpoint_utils.py:248 (a missing file is taken for a new job) and 315.
    When: `--restore-file` names no file; a file is damaged, by a full disk for instance.
    Cure: a missing `--restore-file` is an error, unless it is the default one; of a damaged file
    the last line names the path and the newest whole checkpoint beside it.
    """
    load_checkpoint = checkpoint_utils.load_checkpoint
    load_checkpoint_to_cpu = checkpoint_utils.load_checkpoint_to_cpu

    @functools.wraps(load_checkpoint)
    def load_existing(cfg: Any, trainer: Any, **options: Any) -> Any:
        path = cfg.restore_file
        if path != DEFAULT_RESTORE_FILE:
            path = path.replace(".pt", f"{trainer.checkpoint_suffix}.pt")
            if not checkpoint_utils.PathManager.exists(path):
                raise FileNotFoundError(
                    f"--restore-file {path} does not exist: correct the path, or leave the option "
                    "out to train from scratch"
                )
        return load_checkpoint(cfg, trainer, **options)

    @functools.wraps(load_checkpoint_to_cpu)
    def load_whole(path: str, *rest: Any, **named: Any) -> Any:
        try:
            return load_checkpoint_to_cpu(path, *rest, **named)
        except UnsafeCheckpointError:
            raise
        except (EOFError, OSError, RuntimeError, ValueError) as error:
            if not os.path.isfile(path) or zipfile.is_zipfile(path):
                raise  # not the file's fault
            raise DamagedCheckpointError(
                f"{path} ({os.path.getsize(path):,} bytes) is no checkpoint, or an incomplete one"
                f"{_way_out(path)}"
            ) from error

    checkpoint_utils.load_checkpoint = load_existing
    checkpoint_utils.load_checkpoint_to_cpu = load_whole


def _way_out(path: str) -> str:
    folder = os.path.dirname(path) or "."
    whole = [
        entry.path
        for entry in os.scandir(folder)
        if entry.name.endswith(".pt") and zipfile.is_zipfile(entry.path)
    ]
    if not whole:
        return ", and there is no whole one beside it"
    newest = max(whole, key=os.path.getmtime)
    return f": to go on from the newest whole one beside it, run `cp {newest} {path}`"


def _in_one_line(reason: BaseException) -> str:
    """torch lists every parameter; here is one example of each kind of difference."""
    text = str(reason)
    sizes = re.findall(r"size mismatch for (\S+): .*?\(\[(.*?)\]\).*?\(\[(.*?)\]\)", text)
    parts = []
    if sizes:
        name, theirs, ours = sizes[0]
        parts.append(
            f"{len(sizes)} parameters have other sizes ({name}: [{theirs}] in the checkpoint, "
            f"[{ours}] here)"
        )
    for place, title in (("here", "Missing"), ("in the checkpoint", "Unexpected")):
        names = re.findall(rf"{title} key\(s\) in state_dict: (.*)", text)
        names = names[0].rstrip(". ").split(", ") if names else []
        if names:
            parts.append(f"{len(names)} parameters are only {place} ({names[0]})")
    return ", ".join(parts) or " ".join(text.split()) or repr(reason)


def _different_options(theirs: Any, ours: Any) -> str:
    """Sizes and switches of the model that differ; real numbers change no shape."""
    if not isinstance(theirs, Mapping) or not isinstance(ours, Mapping):
        return ""
    different = [
        f"--{name.replace('_', '-')} {theirs[name]} (here {ours[name]})"
        for name in ours
        if not name.startswith("_")
        and name in theirs
        and not isinstance(ours[name], float)
        and theirs[name] != ours[name]
    ]
    return f"; it was written with {', '.join(different)}" if different else ""
