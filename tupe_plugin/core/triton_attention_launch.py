"""How :mod:`.triton_attention` starts a kernel: what can run, the tiles, the arguments."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

HEAD_DIMS = (32, 64, 128)
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
NO_LOGIT_NOISE = "triton takes no noise on the attention logits: choose sdpa"
NUMBERS = 2**16  # that a weight may draw: it is dropped if its own is below p times this


def why_not_triton(device: torch.device, dtype: torch.dtype, head_dim: int) -> str | None:
    """Why the kernel cannot run so, in one line; None if it can."""
    if head_dim not in HEAD_DIMS:
        return f"triton attention takes head sizes {HEAD_DIMS}, not {head_dim}: choose sdpa"
    if dtype not in DTYPES:
        return f"triton attention takes float16, bfloat16 and float32, not {dtype}: choose sdpa"
    if not _triton_is_installed():
        return "triton attention needs the package triton: pip install triton, or choose sdpa"
    if device.type != "cuda" and not _kernels_are_interpreted():
        return f"triton attention needs a GPU, and the model is on {device}: choose sdpa"
    return None


@cache
def _triton_is_installed() -> bool:
    return importlib.util.find_spec("triton") is not None


class _Tile(NamedTuple):
    """Queries and keys of a tile, the warps that work on it, and the tiles loaded ahead."""

    rows: int
    columns: int
    warps: int
    stages: int


def _tile(kernel: str, dtype: torch.dtype, head_dim: int) -> _Tile:
    """So that registers and 99 KB of shared memory suffice from sm_80 on; not tuned by timing.

    Never chosen while running: another tile adds up in another order, and gives other bits.
    """
    wide = head_dim > 64
    if dtype == torch.float32:
        return _Tile(16, 32, 8, 1) if wide else _Tile(32, 32, 8, 1)
    if kernel == "forward":
        return _Tile(64, 64, 4, 2) if wide else _Tile(128, 64, 8, 2)
    return _Tile(32, 64, 8, 2) if wide else _Tile(64, 64, 8, 2)


def _kernel(name: str) -> Any:
    """Imports triton, which therefore is needed by those alone who ask for this attention."""
    from .triton_attention_kernels import KERNELS

    return KERNELS[name]


def _kernels_are_interpreted() -> bool:
    """Whether they run on a CPU: TRITON_INTERPRET=1 was set when triton was imported."""
    return type(_kernel("forward")).__name__ == "InterpretedFunction"


def strided(**tensors: Tensor | None) -> dict[str, Any]:
    """A kernel's arguments ``x`` and ``x_strides``, without the last axis if that is features."""
    arguments: dict[str, Any] = {}
    for name, tensor in tensors.items():
        arguments[name] = tensor
        arguments[f"{name}_strides"] = (0,) if tensor is None else tensor.stride()[:3]
    return arguments


def arguments(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    padding: Tensor | None,
    skip_queries: bool,
    seed: Tensor | None,
    dropout_p: float,
    scale: float,
) -> dict[str, Any]:
    """What all kernels take."""
    _, heads, queries, head_dim = query.shape
    refusal = why_not_triton(query.device, query.dtype, head_dim)
    if refusal is not None:
        raise ValueError(refusal)
    dropped = min(round(dropout_p * NUMBERS), NUMBERS - 1)
    mask = None if padding is None else padding.view(torch.uint8)
    return {
        **strided(query=query, key=key, value=value, bias=bias, padding=mask),
        "ends": None if padding is None else _ends(padding),
        "seed": seed,
        "heads": heads,
        "queries": queries,
        "keys": key.shape[2],
        "scale": scale,
        "keep_scale": NUMBERS / (NUMBERS - dropped),
        "HEAD_DIM": head_dim,
        "DROPPED": dropped,
        "SKIP_QUERIES": skip_queries and padding is not None,
        "UPCAST": query.dtype == torch.bfloat16 and _kernels_are_interpreted(),
    }


def _ends(padding: Tensor) -> Tensor:
    """``(batch, seq)`` -> ``(batch,)``: how many places there are up to the last word."""
    counted = torch.arange(1, padding.size(1) + 1, dtype=torch.int32, device=padding.device)
    return counted.masked_fill(padding, 0).amax(1)


def ranked(ends: Tensor | None, keys: int) -> dict[str, Tensor | None]:
    """Sentences from long to short, and for each place how many have a word after it."""
    if ends is None:
        return {"by_length": None, "longer": None}
    by_length = ends.argsort(descending=True, stable=True).int()
    places = torch.arange(keys, device=ends.device)[:, None]
    return {"by_length": by_length, "longer": (ends > places).sum(1, dtype=torch.int32)}


def run(kernel: str, call: dict[str, Any], *, over: str, **own: Any) -> None:
    """Start a kernel with one program for each tile of what it owns (``over``)."""
    query = call["query"]
    tile = _tile(kernel, query.dtype, call["HEAD_DIM"])
    row_blocks, column_blocks = -(-call["queries"] // tile.rows), -(-call["keys"] // tile.columns)
    sentences = query.shape[0]
    of_each_head = {
        "queries": sentences * row_blocks,
        "keys": sentences * column_blocks,
        "bias": row_blocks * column_blocks,
    }
    programs = call["heads"] * of_each_head[over]
    with torch.cuda.device_of(query):
        _kernel(kernel)[(programs,)](
            **call,
            **own,
            ROWS=tile.rows,
            COLUMNS=tile.columns,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
