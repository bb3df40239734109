"""Checkpoints are read by the rules of `tupe_plugin/checkpoint/`, whoever reads them.

torch >= 2.6 reads only tensors and plain containers from a file, unless told otherwise. That stays
on: a checkpoint is data, and reading it must not run code.
"""

from __future__ import annotations

import functools
from typing import Any

from .checkpoint_package import checkpoint_module
from .module_view import ModuleView


def load_checkpoint_files_safely(checkpoint_utils: Any) -> None:
    """`UnpicklingError: Weights only load failed ... Unsupported global: argparse.Namespace`.

    Where: fairseq/checkpoint_utils.py:315 and 878.
    When: torch >= 2.6, with every checkpoint that fairseq writes for a model with legacy arguments.
    Fix: `weights_only` is asked for in so many words (older torch too), with an allow-list. What
    is refused, damaged or no checkpoint at all is named, with the file and what to do.
    Upstream: https://github.com/facebookresearch/fairseq/issues/5610
    """
    import torch

    def load(file: Any, map_location: Any = None) -> Any:
        return checkpoint_module("read").read_checkpoint(file, map_location)

    checkpoint_utils.torch = ModuleView(torch, load=load)


def refuse_unusable_settings(checkpoint_utils: Any) -> None:
    """`KeyError: 'bert_huge'`, `ConfigAttributeError: ...` while a checkpoint is upgraded.

    Where: fairseq/checkpoint_utils.py:318 to 343 and 655 to 694.
    When: the configuration in a file is damaged, or of a model that is not registered.
    Fix: the last line names the file.
    """
    original = checkpoint_utils.load_checkpoint_to_cpu

    @functools.wraps(original)
    def load_checkpoint_to_cpu(path: str, *rest: Any, **named: Any) -> Any:
        errors = checkpoint_module("errors")
        try:
            return original(path, *rest, **named)
        except (errors.CheckpointError, OSError, MemoryError):
            raise
        except Exception as error:
            raise errors.UnusableCheckpointError(
                f"{path}: fairseq cannot make use of its settings ({errors.in_one_line(error)})"
            ) from error

    checkpoint_utils.load_checkpoint_to_cpu = load_checkpoint_to_cpu


def complete_short_configurations(checkpoint_utils: Any) -> None:
    """`ConfigAttributeError: Missing key bpe`, or another part that a checkpoint says nothing of.

    Where: whoever uses a model asks for other parts too; fairseq/models/roberta/hub_interface.py:26
    for one.
    When: a checkpoint was not written by a training: `tupe delta apply` knows of model, task and
    criterion.
    Fix: the other parts have fairseq's defaults.
    """
    original = checkpoint_utils.load_checkpoint_to_cpu

    @functools.wraps(original)
    def load_checkpoint_to_cpu(path: str, *rest: Any, **named: Any) -> Any:
        from fairseq.dataclass.configs import FairseqConfig
        from omegaconf import OmegaConf, open_dict

        state = original(path, *rest, **named)
        if state.get("cfg") is not None:
            defaults = OmegaConf.structured(FairseqConfig())
            with open_dict(state["cfg"]) as cfg:
                for part in [part for part in defaults if cfg.get(part) is None]:
                    cfg[part] = defaults[part]
        return state

    checkpoint_utils.load_checkpoint_to_cpu = load_checkpoint_to_cpu


def load_own_broadcast(distributed_utils: Any) -> None:
    """The same `UnpicklingError` on every worker but the first, when a run is resumed.

    Where: fairseq/distributed/utils.py:770: worker 0 reads the checkpoint and broadcasts what is no
    tensor as a pickle (configuration objects, enumerations, placeholders for tensors).
    When: torch >= 2.6 and several workers.
    Fix: this pickle was made a moment ago by a process of the same job, from what safe loading let
    through, so it is read in full; it, and nothing else.
    """
    import torch

    def load_from_worker_0(buffer: Any, map_location: Any = None) -> Any:
        return torch.load(buffer, map_location=map_location, weights_only=False)

    distributed_utils.torch = ModuleView(torch, load=load_from_worker_0)
