"""What a window of gradients may be, and the bytes that it takes."""

from __future__ import annotations

import math

import torch

from .available_memory import available_bytes, format_bytes
from .gradient_rows import dtype_name
from .sparse_rows import block_layout


def check_window_settings(
    num_grads: int, damping: float, dtype: torch.dtype, *, density: float | None = None
) -> None:
    """Raise ValueError for settings that cannot make a window."""
    if num_grads < 1:
        raise ValueError(f"num_grads={num_grads}: the window must hold at least 1 gradient")
    if not 0 < damping < math.inf:
        raise ValueError(
            f"damping={damping}: must be above 0 and finite, or the Fisher matrix has no inverse "
            "(1e-6 is the published value)"
        )
    if dtype not in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"{dtype}: a window holds float64, float32, bfloat16 or float16")
    if density is not None and not 0 < density <= 1:
        raise ValueError(
            f"density={density}: must be above 0, and 1 at most: the share of each gradient that "
            "the window keeps"
        )


def window_bytes(
    num_grads: int, dim: int, dtype: torch.dtype, *, density: float = 1.0, workers: int = 1
) -> int:
    """For each worker; ``density`` below 1 is a compressed window with its feedback."""
    item, system = dtype.itemsize, 3 * 8 * num_grads**2
    if density == 1:
        return num_grads * -(-dim // workers) * item + system
    block = block_layout(dim, density).block
    own = min(dim, -(-dim // (workers * block)) * block)
    kept = block_layout(own, density).kept
    feedback = 8 if dtype is torch.float64 else 4
    return kept * (num_grads * (item + 2) + 4) + own * feedback + system


def check_window_memory(
    num_grads: int,
    dim: int,
    dtype: torch.dtype,
    *,
    device: torch.device,
    density: float = 1.0,
    workers: int = 1,
) -> None:
    """Raise MemoryError for a window that does not fit on ``device``."""
    needed = window_bytes(num_grads, dim, dtype, density=density, workers=workers)
    available = available_bytes(device)
    if available is not None and needed > available:
        share = "" if density == 1 else f" at density {density:g}"
        raise MemoryError(
            f"M-FAC's window of {num_grads} gradients x {dim:,} parameters in "
            f"{dtype_name(dtype)}{share} takes {format_bytes(needed)} on {device} for each of "
            f"{workers} worker(s), and {format_bytes(available)} are available. Lower it with "
            "density 0.01 (--mfac-density), a smaller num_grads (--mfac-num-grads), "
            "window_dtype bfloat16 (--mfac-dtype), fewer parameters in it (--mfac-parameters, "
            "BitFit) or more workers; or put it into host memory with window_device='cpu' "
            "(--mfac-device cpu)"
        )
