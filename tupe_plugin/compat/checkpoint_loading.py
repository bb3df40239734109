"""torch >= 2.6 reads only tensors and plain containers from a checkpoint, unless told otherwise.

That default stays on: a checkpoint is data, and reading it must not run code.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
from typing import Any

from .module_view import ModuleView

# What fairseq's own checkpoints hold beside tensors and plain containers. `argparse.Namespace` is
# a bag of attributes: building one runs no code.
ALLOWED_CLASSES = (argparse.Namespace,)


class UnsafeCheckpointError(RuntimeError):
    """A checkpoint holds something that cannot be read without trusting whoever wrote it."""


def load_checkpoint_files_safely(checkpoint_utils: Any) -> None:
    """`UnpicklingError: Weights only load failed ... Unsupported global: argparse.Namespace`.

    Where: fairseq/checkpoint_utils.py:315 and 878.
    When: torch >= 2.6, with every checkpoint that fairseq writes for a model with legacy arguments.
    Cure: `weights_only` is asked for in so many words (older torch too), with an allow-list; what
    is refused is named, with the file and the way to convert it.
    Upstream: https://github.com/facebookresearch/fairseq/issues/5610
    """
    import torch

    checkpoint_utils.torch = ModuleView(torch, load=load)


def load(file: Any, map_location: Any = None, **options: Any) -> Any:
    """`torch.load` of tensors, plain containers and `ALLOWED_CLASSES`.

    Raises:
        UnsafeCheckpointError: there is anything else in the file.
    """
    import torch

    with torch.serialization.safe_globals(list(ALLOWED_CLASSES)):
        try:
            return torch.load(file, map_location=map_location, weights_only=True, **options)
        except pickle.UnpicklingError as error:
            path = file if isinstance(file, (str, os.PathLike)) else getattr(file, "name", file)
            raise UnsafeCheckpointError(
                f"checkpoint {path} was not loaded: it holds {_name_globals(path, error)}, which "
                "is neither a tensor nor plain data; reading it could run code hidden in the file. "
                "If you trust whoever wrote it, convert it once: "
                f"`tupe convert-checkpoint --trust {path} OUT.pt`, then load OUT.pt"
            ) from error


def _name_globals(path: Any, error: pickle.UnpicklingError) -> str:
    """Every class or function that the file wants and may not have; at worst the one in `error`."""
    import torch

    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (ValueError, OSError, RuntimeError):  # not torch's zip format: before torch 1.6
        names = re.findall(r"GLOBAL ([\w.]+)", str(error))[:1]
    return ", ".join(sorted(names)) or "an instruction that safe loading does not know"


def load_own_broadcast(distributed_utils: Any) -> None:
    """The same `UnpicklingError` on every worker but the first, when a run is resumed.

    Where: fairseq/distributed/utils.py:770: worker 0 reads the checkpoint and broadcasts what is no
    tensor as a pickle (configuration objects, enumerations, placeholders for tensors).
    When: torch >= 2.6 and several workers.
    Cure: this pickle was made a moment ago by a process of the same job, from what safe loading let
    through, so it is read in full; it, and nothing else.
    """
    import torch

    def load_from_worker_0(buffer: Any, map_location: Any = None) -> Any:
        return torch.load(buffer, map_location=map_location, weights_only=False)

    distributed_utils.torch = ModuleView(torch, load=load_from_worker_0)
