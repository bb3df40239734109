"""A job that begins from another checkpoint goes on from its own when it is started again."""

from __future__ import annotations

import copy
import functools
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .checkpoint_errors import DEFAULT_RESTORE_FILE, NO_FILE
from .checkpoint_package import checkpoint_module
from .refused_job import RefusedJobError

logger = logging.getLogger(__name__)

RESETS = ("reset_optimizer", "reset_lr_scheduler", "reset_meters", "reset_dataloader")

# What makes a job another one: where it begins, what it learns, and what a sweep varies. All else
# (batches, workers, precision, the length of the run) may change when a job goes on.
IDENTITY = {
    "DATA": ("task", "data"),
    "--task": ("task", "_name"),
    "--arch": ("model", "_name"),
    "--criterion": ("criterion", "_name"),
    "--optimizer": ("optimizer", "_name"),
    "--seed": ("common", "seed"),
    "--lr": ("optimization", "lr"),
    "--bitfit-terms": ("model", "bitfit_terms"),
    "--mfac-parameters": ("optimizer", "mfac_parameters"),
    "--mfac-rest": ("optimizer", "mfac_rest"),
    "--num-classes": ("task", "num_classes"),
    "--regression-target": ("task", "regression_target"),
}
KIND = {
    *("--task", "--arch", "--criterion"),
    # What trains: an optimizer knows its parameters by their number and not by their names.
    *("--bitfit-terms", "--mfac-parameters", "--mfac-rest", "--num-classes", "--regression-target"),
}
"""A job in which these differ cannot go on from the other's checkpoint."""
MODEL = KIND | {"DATA"}
"""A job in which these differ makes another model, which must not replace the other's."""


class OtherJobError(RefusedJobError):
    """The checkpoints in --save-dir were written by another job."""


def go_on_from_the_last_checkpoint(checkpoint_utils: Any) -> None:
    """A fine-tuning that was killed starts over, and overwrites what it had; a job with the
    `--save-dir` of another one overwrites that.

    Where: fairseq/checkpoint_utils.py:248: with `--restore-file P`, nobody looks for
    `checkpoint_last.pt`; with `--finetune-from-model P`, or without P, nobody looks whose it is.
    When: the same command is started again, by its user or by a cluster that requeues it; the
    `--save-dir` of the pre-training is left in the command of the fine-tuning.
    Fix: P and `--reset-*` are for the first start. A `checkpoint_last.pt` of this job is gone on
    from, and nothing of it is reset; one of another job is left alone, and one line says so. P
    beside it winds the job back, as before, and `x.pt`, where there is none, to its beginning. See
    docs/decisions/restarted-jobs.md.
    Upstream: https://github.com/facebookresearch/metaseq/issues/544
    """
    original = checkpoint_utils.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(cfg: Any, trainer: Any, **options: Any) -> Any:
        suffix = trainer.checkpoint_suffix
        last = os.path.join(cfg.save_dir, f"checkpoint_last{suffix}.pt")
        option, start = start_of(cfg)
        is_inside = option is not None and _same_paths(os.path.dirname(start) or ".", cfg.save_dir)
        if not os.path.isfile(last):
            best = os.path.join(cfg.save_dir, f"checkpoint_best{suffix}.pt")
            for path in (best, *([start] if is_inside and _is_named_like_ours(start) else [])):
                if os.path.isfile(path) and not cfg.no_save:
                    _refuse(path, _differences(_configuration(path), trainer.cfg), MODEL)
            return original(cfg, trainer, **options)
        theirs = _configuration(last)
        different = _differences(theirs, trainer.cfg)
        if option is None:
            _refuse(last, different, KIND)
            if different:
                logger.warning(
                    f"going on from {last} with other settings ({', '.join(different.values())})"
                )
            return original(cfg, trainer, **options)
        if start == NO_FILE and not os.path.lexists(NO_FILE):
            if not cfg.no_save:
                _refuse(last, different, MODEL)
            return original(cfg, trainer, **options)
        elsewhere = _different_start(theirs, cfg)
        if option == "--restore-file" and is_inside and (elsewhere or different):
            if not cfg.no_save:
                _refuse(last, different, MODEL)
            logger.info(f"winding back to {start}: {last} will be overwritten")
            return original(cfg, trainer, **options)
        _refuse(last, {**elsewhere, **different}, {*elsewhere, *different}, option)
        if option == "--restore-file":
            logger.info(f"going on from {last}: --restore-file {start} is for the first start only")
            cfg = copy.deepcopy(cfg)
            cfg.restore_file = DEFAULT_RESTORE_FILE
            for name in RESETS:
                cfg[name] = False
        return original(cfg, trainer, **options)

    checkpoint_utils.load_checkpoint = load_checkpoint


def _refuse(path: str, different: Mapping[str, str], among: set[str], option: str = "") -> None:
    """Leave the job alone that wrote `path`, if it differs in one `among` these.

    A job of the same kind can go on without the option that names where it begins.
    """
    if not among & set(different):
        return
    can_go_on = option and not KIND & set(different)
    way_on = f", or leave {option} out to go on from them" if can_go_on else ""
    raise OtherJobError(
        f"{path} was written by another job ({', '.join(different.values())}): name another "
        f"--save-dir, or remove that job's checkpoints{way_on}"
    )


def _is_named_like_ours(path: str) -> bool:
    """Whether a job may write a checkpoint of that name, and so overwrite it."""
    return os.path.basename(path).startswith("checkpoint")


def start_of(checkpoint: Any) -> tuple[str | None, str]:
    """The option that names the checkpoint from which a job begins, and that checkpoint."""
    restore_file = _entry(checkpoint, "restore_file") or DEFAULT_RESTORE_FILE
    if restore_file != DEFAULT_RESTORE_FILE:
        return "--restore-file", restore_file
    finetune_from_model = _entry(checkpoint, "finetune_from_model")
    return ("--finetune-from-model", finetune_from_model) if finetune_from_model else (None, "")


def _configuration(path: str) -> Any:
    """The configuration in a checkpoint, without reading its tensors; None in an unusable one."""
    try:
        return checkpoint_module("read").read_lazily(path).get("cfg")
    except (OSError, RuntimeError, ValueError):
        return None  # whoever loads all of it says what is wrong


def _different_start(theirs: Any, ours: Any) -> dict[str, str]:
    """Whether the job began from another checkpoint than the one that this job names."""
    _, their_start = start_of(_entry(theirs, "checkpoint"))
    option, start = start_of(ours)
    if theirs is None or _same_paths(their_start, start):
        return {}
    return {"start": f"it began from {their_start or 'scratch'}, {option} is {start}"}


def _differences(theirs: Any, ours: Any) -> dict[str, str]:
    """In the words of the command line: by what another job differs from this one."""
    different = {}
    for name, (section, key) in IDENTITY.items():
        their_value, value = (_entry(_entry(cfg, section), key) for cfg in (theirs, ours))
        if their_value is None or value is None:
            continue
        their_value, value = _shown(their_value), _shown(value)
        if not (_same_paths(their_value, value) if name == "DATA" else their_value == value):
            different[name] = f"{name} {their_value}, here {value}"
    return different


def _entry(section: Any, key: str) -> Any:
    return checkpoint_module("settings").entry(section, key)


def _shown(value: Any) -> str:
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return ",".join(map(str, value)) if several else str(value)


def _same_paths(one: str, other: str) -> bool:
    """Whether two lists of paths, with `:` between them, mean the same."""
    return one == other or [os.path.realpath(path) for path in one.split(os.pathsep)] == [
        os.path.realpath(path) for path in other.split(os.pathsep)
    ]
