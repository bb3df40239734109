"""The gradients of a window in a checkpoint: blocks of rows, and whether they can be taken over.

A window that is not finite makes every later step not finite, and says nothing until then; so keys,
types, shapes and numbers are checked.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .gradient_rows import Row
from .sparse_rows import BlockLayout

# Rows are saved in blocks of this many bytes: whoever moves a checkpoint moves one at a time.
SAVED_BLOCK_BYTES = 2**28
_BITS = {"float64": torch.float64, "float32": torch.float32}
_BITS |= {"bfloat16": torch.bfloat16, "float16": torch.float16}


def blocks_of(rows: Tensor, *, width: int) -> list[Tensor]:
    """The rows ``(filled, own numbers)`` of a window, block by block: views of them.

    Args:
        rows: of one worker.
        width: numbers of a row, of all workers together.
    """
    row_bytes = max(1, width * rows.element_size())
    return list(rows.split(max(1, SAVED_BLOCK_BYTES // row_bytes))) if len(rows) else []


def as_saved(block: Tensor) -> Tensor:
    """Half precision as ``int16`` of the same bits: fairseq would turn it into float32."""
    return block.view(torch.int16) if block.element_size() == 2 else block


def saved_row(state: dict[str, Any], slot: int, part: slice = slice(None)) -> Row:
    """One gradient: of all its numbers stored, those of ``part``."""

    def of(name: str) -> Tensor:
        rows_in_block = len(state[name][0])
        return state[name][slot // rows_in_block][slot % rows_in_block][part]

    values = of("rows").view(getattr(torch, state["dtype"]))
    return Row(values, float(state["scales"][slot]), of("indices") if "indices" in state else None)


def saved_layout(state: dict[str, Any]) -> dict[str, Any]:
    """As ``layout`` of the rows that were saved."""
    names = ("dtype", "density", "block_columns") if "indices" in state else ("dtype",)
    return {name: state[name] for name in names}


def described(layout: dict[str, Any]) -> str:
    """``float32``, or ``bfloat16 at density 0.01``."""
    share = f" at density {layout['density']:.4g}" if "density" in layout else ""
    return f"{layout['dtype']}{share}"


def whole_row(state: dict[str, Any], slot: int, dtype: torch.dtype) -> Tensor:
    """One gradient as ``(dim,)``, with zeros where nothing was kept."""
    row = saved_row(state, slot)
    values = row.values.to(dtype) * row.scale
    if row.indices is None:
        return values
    blocks = BlockLayout(state["dim"], state["density"], state["block_columns"])
    whole = torch.zeros(state["dim"], dtype=dtype, device=values.device)
    return whole.index_add_(0, blocks.starts(values.device) + row.indices, values)


def slots_to_keep(state: dict[str, Any], num_grads: int) -> tuple[list[int], int]:
    """Saved slots for a window of ``num_grads``, in its order, and its count of pushes."""
    pushed, saved = state["num_pushed"], state["num_grads"]
    if saved == num_grads:
        return list(range(min(pushed, saved))), pushed
    kept = min(pushed, saved, num_grads)
    return [(pushed - kept + i) % saved for i in range(kept)], kept


def check_saved_window(state: Any) -> None:
    """Refuse what ``FisherWindow.load_state_dict`` cannot take over.

    Args:
        state: of ``FisherWindow.state_dict``, with ``MFAC``'s two entries or without them.

    Raises:
        ValueError: it names the entry.
    """
    if not isinstance(state, dict):
        raise _unusable("it", f"is a {type(state).__name__}")
    for name, least in (("num_grads", 1), ("dim", 1), ("num_pushed", 0), ("num_skipped", 0)):
        value = state.get(name, 0 if name == "num_skipped" else None)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise _unusable(name, f"is {value!r}")
    damping = state.get("damping")
    if not isinstance(damping, float) or not 0 < damping < math.inf:
        raise _unusable("damping", f"is {damping!r}")
    if not isinstance(state.get("step_error", 0.0), float | None):
        raise _unusable("step_error", f"is {state['step_error']!r}")
    outside = state.get("outside", [])
    if not isinstance(outside, list) or not all(type(number) is int for number in outside):
        raise _unusable("outside", f"is {outside!r}")
    dim, num_grads = state["dim"], state["num_grads"]
    if state.get("momentum_buffer") is not None:
        _check_tensor("momentum_buffer", state["momentum_buffer"], (dim,))
    if state.get("rows") is None:
        return
    filled = min(state["num_pushed"], num_grads)
    width = dim
    if "indices" in state:
        blocks = _checked_blocks(state)
        width = blocks.kept
        _check_indices(state["indices"], blocks, filled)
        _check_tensor("feedback", state.get("feedback"), (dim,))
    _check_rows(state, filled, width)
    scales: Any = state.get("scales")
    _check_tensor("scales", scales, (len(scales) if _is_vector(scales) else filled,))
    if len(scales) < filled:
        raise _unusable("scales", f"are {len(scales)} for {filled} gradients")
    for name in ("gram", "inverse"):
        if name in state:
            _check_tensor(name, state[name], (num_grads, num_grads))


def _checked_blocks(state: dict[str, Any]) -> BlockLayout:
    density, block = state.get("density"), state.get("block_columns")
    if not isinstance(density, float) or not 0 < density <= 1:
        raise _unusable("density", f"is {density!r}")
    if not isinstance(block, int) or isinstance(block, bool) or not 0 < block <= 2**15:
        raise _unusable("block_columns", f"is {block!r}")
    return BlockLayout(state["dim"], density, block)


def _check_indices(indices: Any, blocks: BlockLayout, filled: int) -> None:
    """Ascending in each block, so that none comes twice, and within it."""
    if not isinstance(indices, list):
        raise _unusable("indices", f"are a {type(indices).__name__}")
    for saved in indices:
        if not isinstance(saved, Tensor) or saved.dtype is not torch.int16:
            raise _unusable("indices", "are not all of int16")
        _check_tensor("indices", saved, (len(saved) if saved.dim() else 0, blocks.kept))
    _check_lengths("indices", indices, filled)
    starts = blocks.starts("cpu")
    for row in (row for saved in indices for row in saved):
        columns = starts.to(row.device) + row
        inside = bool(((row >= 0) & (row < blocks.block) & (columns < blocks.dim)).all())
        if not inside or not bool((columns.diff() > 0).all()):
            raise _unusable("indices", "do not name different columns in each block")


def _check_lengths(name: str, saved: list[Tensor], filled: int) -> None:
    lengths = [len(block) for block in saved]
    if sum(lengths) != filled or any(length != lengths[0] for length in lengths[:-1]):
        raise _unusable(name, f"are {sum(lengths)} for {filled} gradients")


def _check_rows(state: dict[str, Any], filled: int, width: int) -> None:
    """Blocks of rows, all of one length but the last; the halves as the bits of int16."""
    rows, dtype = state["rows"], _BITS.get(str(state.get("dtype")))
    if dtype is None:
        raise _unusable("dtype", f"is {state.get('dtype')!r}")
    if not isinstance(rows, list):
        raise _unusable("rows", f"are a {type(rows).__name__}")
    for block in rows:
        stored = torch.int16 if dtype.itemsize == 2 else dtype
        if not isinstance(block, Tensor) or block.dtype is not stored:
            raise _unusable("rows", f"are not all of {state['dtype']}")
        _check_tensor("rows", block.view(dtype), (len(block), width))
    _check_lengths("rows", rows, filled)


def _is_vector(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 1


def _check_tensor(name: str, value: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(value, Tensor) or tuple(value.shape) != shape:
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise _unusable(name, f"should be a tensor {shape}, and is {found}")
    if not torch.isfinite(value).all():
        raise _unusable(name, "is not finite")


def _unusable(name: str, what: str) -> ValueError:
    return ValueError(
        f"the saved window of M-FAC cannot be used: {name} {what}; take an earlier checkpoint, or "
        "reset the optimizer"
    )
