"""A checkpoint that cannot be used: fairseq hides the reason, or goes on without a word."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from .checkpoint_models import admitting
from .checkpoint_package import checkpoint_module

DEFAULT_RESTORE_FILE = "checkpoint_last.pt"  # may be missing: the job is then a new one
NO_FILE = "x.pt"
"""What fairseq's own tests give to `--restore-file` for a job that begins from no file."""


def say_why_a_checkpoint_does_not_fit(trainer: Any) -> None:
    """`Cannot load model parameters ...; please ensure that the architectures match.`

    Where: fairseq/trainer.py:580, for whatever goes wrong with the parameters, and 586 to 640 for
    the rest of the state.
    When: the model has other sizes, another dictionary, other heads than the checkpoint; the state
    of the optimizer is damaged. Nothing is said where only settings differ that change no size.
    Fix: the last line tells what differs, and by which options the two jobs differ. A model with a
    function `why_not_fit` is asked before anything is loaded. An optimizer that is built on the way
    and refuses its options says so itself.
    Upstream: https://github.com/facebookresearch/fairseq/issues/4590
    """
    original = trainer.Trainer.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(self: Any, filename: str, *rest: Any, **named: Any) -> Any:
        errors, settings_of = checkpoint_module("errors"), checkpoint_module("settings").settings_of
        why_not_fit = getattr(self.get_model(), "why_not_fit", lambda *_: None)

        def admit(state: Any, path: Any) -> None:
            why = why_not_fit(settings_of(state, "model"), state["model"])
            if why is not None:
                raise errors.UnusableCheckpointError(
                    f"checkpoint {path} does not fit this model: {why}"
                )

        of_the_optimizer: list[Exception] = []
        try:
            with admitting(admit), _collecting_errors(self, "_build_optimizer", of_the_optimizer):
                return original(self, filename, *rest, **named)
        except (errors.CheckpointError, OSError, MemoryError):
            raise
        except Exception as error:
            if error in of_the_optimizer:
                raise
            reason = error.__context__
            state = trainer.checkpoint_utils.load_checkpoint_to_cpu(filename)
            different = _different_options(
                settings_of(state, "model"), settings_of({"cfg": self.cfg}, "model")
            )
            if reason is None or not str(error).startswith("Cannot load model parameters"):
                raise errors.UnusableCheckpointError(
                    f"checkpoint {filename} cannot be resumed from: {errors.in_one_line(error)}"
                    f"{different}"
                ) from error
            raise errors.UnusableCheckpointError(
                f"checkpoint {filename} does not fit this model: {_in_one_line(reason)}{different}"
            ) from reason

    trainer.Trainer.load_checkpoint = load_checkpoint


@contextlib.contextmanager
def _collecting_errors(owner: Any, name: str, into: list[Exception]) -> Iterator[None]:
    """What a method of this one object raises goes on as it is, and is also put into the list."""
    method = getattr(owner, name)

    def collecting(*args: Any, **named: Any) -> Any:
        try:
            return method(*args, **named)
        except Exception as error:
            into.append(error)
            raise

    setattr(owner, name, collecting)
    try:
        yield
    finally:
        delattr(owner, name)


def refuse_unusable_files(trainer: Any) -> None:
    """Training from random weights without a warning; `OSError: Invalid argument`, `EOFError`.

    Where: fairseq/trainer.py:462 and checkpoint_utils.py:248 (what is no file is taken for a new
    job), 315.
    When: `--restore-file`, `--finetune-from-model` or the save-dir's `checkpoint_last.pt` is a
    folder or a link to nothing; `--restore-file` names no file; a file is damaged, by a full disk
    for instance.
    Fix: each is an error in one line; only a missing `checkpoint_last.pt` or `x.pt` means a new
    job. Of a damaged file the last line names the newest whole checkpoint beside it.
    """
    load_checkpoint = trainer.Trainer.load_checkpoint

    @functools.wraps(load_checkpoint)
    def load_file(self: Any, filename: str, *rest: Any, **named: Any) -> Any:
        errors = checkpoint_module("errors")
        last = os.path.join(
            self.cfg.checkpoint.save_dir, f"checkpoint_last{self.checkpoint_suffix}.pt"
        )
        for path in filter(os.path.lexists, (filename, last)):  # a job must be able to write `last`
            checkpoint_module("file_kind").refuse_what_is_no_file(path)
        is_asked_for = self.cfg.checkpoint.restore_file not in (DEFAULT_RESTORE_FILE, NO_FILE)
        if is_asked_for and not os.path.lexists(filename):
            raise FileNotFoundError(
                f"--restore-file {filename} does not exist: correct the path, or leave the option "
                "out to train from scratch"
            )
        try:
            return load_checkpoint(self, filename, *rest, **named)
        except errors.DamagedCheckpointError as error:
            raise errors.DamagedCheckpointError(f"{error}{_way_out(filename)}") from error

    trainer.Trainer.load_checkpoint = load_file


def _way_out(path: str) -> str:
    """How to go on: by the newest checkpoint in the same folder that is whole."""
    with os.scandir(os.path.dirname(path) or ".") as folder:
        whole = [
            entry.path
            for entry in folder
            if entry.name.endswith(".pt")
            and entry.is_file()
            and not os.path.samefile(entry.path, path)
            and zipfile.is_zipfile(entry.path)
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


def _different_options(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Sizes and switches of the model that differ; real numbers change no shape."""
    different = [
        f"--{name.replace('_', '-')} {theirs[name]} (here {ours[name]})"
        for name in ours
        if not name.startswith("_")
        and name in theirs
        and not isinstance(ours[name], float)
        and theirs[name] != ours[name]
    ]
    return f"; it was written with {', '.join(different)}" if different else ""
