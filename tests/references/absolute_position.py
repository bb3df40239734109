"""TUPE's absolute position bias, one cell at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, *, eps: float = 1e-5) -> Tensor:
    """Normalise one vector ``(embed,)``."""
    mean = x.sum() / len(x)
    variance = ((x - mean) ** 2).sum() / len(x)
    return (x - mean) / torch.sqrt(variance + eps) * weight + bias


def project_position(p: dict[str, Tensor], row: int, which: str) -> Tensor:
    """``LN(p_row) U^which``, ``(embed,)``; ``which`` is "query" or "key".

    ``p`` holds the parameters by these names: embedding, layer_norm.weight, layer_norm.bias,
    query.weight, query.bias, key.weight, key.bias.
    """
    normed = layer_norm(p["embedding.weight"][row], p["layer_norm.weight"], p["layer_norm.bias"])
    return p[f"{which}.weight"] @ normed + p[f"{which}.bias"]


def absolute_bias(p: dict[str, Tensor], heads: int, length: int, *, untied: bool) -> Tensor:
    """``(heads, length, length)``: token i reads row i + 1; row 0 is for the untied [CLS]."""
    d = p["embedding.weight"].shape[1] // heads
    queries = [project_position(p, row, "query") for row in range(length + 1)]
    keys = [project_position(p, row, "key") for row in range(length + 1)]

    def correlation(head: int, i: int, j: int) -> Tensor:
        features = slice(head * d, (head + 1) * d)
        return (queries[i][features] * keys[j][features]).sum() / math.sqrt(2 * d)

    bias = torch.zeros(heads, length, length, dtype=p["embedding.weight"].dtype)
    for head in range(heads):
        for query in range(length):
            for key in range(length):
                if untied and query == 0:
                    bias[head, query, key] = correlation(head, 0, 0)
                elif untied and key == 0:
                    bias[head, query, key] = correlation(head, 1, 1)
                else:
                    bias[head, query, key] = correlation(head, query + 1, key + 1)
    return bias
