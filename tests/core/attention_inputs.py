"""Random queries, keys and values, a bias, and a batch whose second sentence is shorter."""

from __future__ import annotations

import torch
from torch import Tensor

BATCH, HEADS, SEQ, HEAD_DIM = 2, 3, 7, 5
MASKINGS = ["nothing", "bias", "padding", "bias and padding"]
TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def random(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype)


def bias_and_padding(masking: str, seq: int = SEQ) -> tuple[Tensor | None, Tensor | None]:
    """``(heads, query, key)`` and ``(batch, key)``, as far as one of `MASKINGS` has them."""
    bias = random(HEADS, seq, seq, seed=2) if "bias" in masking else None
    padding = None
    if "padding" in masking:
        padding = torch.zeros(BATCH, seq, dtype=torch.bool)
        padding[1, 1 + seq // 2 :] = True
    return bias, padding
