"""A checkpoint as fairseq itself sees it: settings of older versions brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import UnusableCheckpointError, in_one_line
from .file_kind import refuse_what_is_no_file

USED_HERE = ("common", "dataset", "checkpoint")  # parts that every job has


def read_upgraded(path: Path) -> dict[str, Any]:
    """What `fairseq.checkpoint_utils.load_checkpoint_to_cpu` gives; `cfg` is omegaconf's.

    Raises:
        CheckpointError: there is no such file, or it cannot be used.
    """
    import fairseq  # noqa: F401  -- its arrival makes tupe_plugin register and mend it
    from fairseq.checkpoint_utils import load_checkpoint_to_cpu

    refuse_what_is_no_file(path)
    state = load_checkpoint_to_cpu(str(path))
    _check_declared(state["cfg"], path)
    return state


def _check_declared(cfg: Any, path: Path) -> None:
    """Refuse values of other types than fairseq's options have, and options that a task has not."""
    from fairseq.dataclass.configs import FairseqConfig
    from fairseq.tasks import TASK_DATACLASS_REGISTRY
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    declared = OmegaConf.structured(FairseqConfig())
    parts = {name: (declared[name], cfg[name]) for name in USED_HERE}
    task = TASK_DATACLASS_REGISTRY.get(getattr(cfg.task, "_name", None))
    for name, (options, settings) in parts.items():
        known = {key: value for key, value in settings.items() if key in options}
        parts[name] = (options, known)  # other versions have others
    if task is not None:
        parts["task"] = (task(), cfg.task)
    for name, (options, settings) in parts.items():
        try:
            OmegaConf.merge(options, settings)
        except OmegaConfBaseException as error:
            raise UnusableCheckpointError(
                f"{path}: its settings cfg.{name} cannot be used ({in_one_line(error)})"
            ) from error
