"""What today's libraries have to say about the way in which fairseq calls them."""

from __future__ import annotations

import warnings
from typing import Any

HYDRA_ABOUT_FAIRSEQ = (
    r"hydra\.experimental\.(initialize|compose)\(\) is no longer experimental",
    r"\s*The version_base parameter is not specified",
    r"\s*The strict flag in the compose API is deprecated",
    r"In '.*': Usage of deprecated keyword in package header",
    r"\s*'.*' is validated against ConfigStore schema with the same name",
    r"\s*In .*: Defaults list is missing `_self_`",
    r"\s*Future Hydra versions will no longer change working directory",
)

TORCH_ABOUT_FAIRSEQ = (
    r"Support for mismatched key_padding_mask and attn_mask is deprecated",
    r"The PyTorch API of nested tensors is in prototype stage",
    r"`torch\.nn\.utils\.weight_norm` is deprecated",
)


def silence_hydra_about_fairseq(dataclass_utils: Any) -> None:
    """Twenty lines of `UserWarning` at the top of every log.

    Where: fairseq/dataclass/utils.py and fairseq_cli/hydra_train.py use hydra 1.0's ways.
    When: hydra >= 1.1.
    Fix: these warnings, by their texts, are not shown; nobody who runs a job can act on them. An
    explicit `-W` or `PYTHONWARNINGS` comes first and shows them.
    """
    for message in HYDRA_ABOUT_FAIRSEQ:
        warnings.filterwarnings("ignore", message=message, category=UserWarning, append=True)


def silence_torch_about_fairseq(modules: Any) -> None:
    """`UserWarning: Support for mismatched key_padding_mask and attn_mask is deprecated`.

    Where: fairseq/modules/multihead_attention.py:538, which every transformer calls;
    models/transformer/transformer_encoder.py:281; wherever weights are normalised.
    When: torch >= 2.0, once in every job.
    Fix: as above.
    """
    for message in TORCH_ABOUT_FAIRSEQ:
        warnings.filterwarnings("ignore", message=message, append=True)


def silence_pinned_memory_on_cpu(iterators: Any) -> None:
    """`UserWarning: 'pin_memory' argument is set as true but no accelerator is found`.

    Where: fairseq/data/iterators.py asks every DataLoader for pinned memory.
    When: on CPU.
    Fix: this warning is not shown; without a GPU there is no memory to pin, and no harm.
    """
    warnings.filterwarnings(
        "ignore", message="'pin_memory' argument is set as true but no accelerator", append=True
    )
