"""A checkpoint as fairseq itself sees it: settings of older versions brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .file_kind import refuse_what_is_no_file


def read_upgraded(path: Path) -> dict[str, Any]:
    """What `fairseq.checkpoint_utils.load_checkpoint_to_cpu` gives; `cfg` is omegaconf's.

    Raises:
        CheckpointError: there is no such file, or it cannot be used.
    """
    import fairseq  # noqa: F401  -- its arrival makes tupe_plugin register and mend it
    from fairseq.checkpoint_utils import load_checkpoint_to_cpu

    refuse_what_is_no_file(path)
    return load_checkpoint_to_cpu(str(path))
