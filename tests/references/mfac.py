"""M-FAC, slowly: the Fisher matrix formed and inverted, and the recursion of the paper in loops."""

from __future__ import annotations

import torch
from torch import Tensor


def dense_inverse_product(rows: list[Tensor], v: Tensor, *, num_grads: int, damping: float):
    """(damping I + (1/num_grads) sum g g^T)^-1 v with the d x d matrix written out."""
    fisher = damping * torch.eye(len(v), dtype=v.dtype)
    for g in rows:
        fisher += torch.outer(g, g) / num_grads
    return torch.linalg.solve(fisher, v)


def recursive_inverse_product(rows: list[Tensor], v: Tensor, *, num_grads: int, damping: float):
    """The same by Sherman and Morrison, a row at a time: arXiv 2107.03356, equations 3 and 4."""

    def product(count: int, w: Tensor) -> Tensor:
        out = w / damping
        for i in range(count):
            out = out - directions[i] * (directions[i] @ w) / divisors[i]
        return out

    directions: list[Tensor] = []
    divisors: list[Tensor] = []
    for i, g in enumerate(rows):
        direction = product(i, g)
        directions.append(direction)
        divisors.append(num_grads + g @ direction)
    return product(len(rows), v)


class CoefficientRecursion:
    """The paper's dynamic algorithm: the recursion above on coefficients of the rows.

    Two passes over the window, and m steps of Python on m x m numbers, for each gradient.
    """

    def __init__(self, num_grads: int, dim: int, *, damping: float, dtype: torch.dtype):
        self.damping, self.num_grads, self.pushed = damping, num_grads, 0
        self.rows = torch.zeros(num_grads, dim, dtype=dtype)
        self.dots = torch.zeros(num_grads, num_grads, dtype=dtype)

    def step(self, g: Tensor) -> Tensor:
        """Push ``(dim,)`` and return F^-1 g."""
        m, slot = self.num_grads, self.pushed % self.num_grads
        self.rows[slot] = g
        self.pushed += 1
        products = self.rows @ g
        self.dots[slot] = products
        self.dots[:, slot] = products
        # direction_i = sum_k coefficients[i, k] rows[k];  projections[i] = direction_i . rows
        coefficients = torch.eye(m, dtype=self.dots.dtype) / self.damping
        projections = self.dots / self.damping
        weights = torch.zeros(m, dtype=self.dots.dtype)
        scalars = products / self.damping
        for i in range(m):
            divisor = m + projections[i, i]
            factor = scalars[i] / divisor
            weights -= factor * coefficients[i]
            scalars = scalars - factor * projections[i]
            later = projections[i + 1 :, i] / divisor
            coefficients[i + 1 :] -= torch.outer(later, coefficients[i])
            projections[i + 1 :] -= torch.outer(later, projections[i])
        return g / self.damping + weights @ self.rows


def largest_by_block(x: Tensor, *, density: float, block: int) -> Tensor:
    """``x`` with all but the largest entries of each block set to zero."""
    kept = torch.zeros_like(x)
    for start in range(0, len(x), block):
        columns = range(start, min(start + block, len(x)))
        count = max(1, round(density * len(columns)))
        for i in sorted(columns, key=lambda i: -abs(float(x[i])))[:count]:
            kept[i] = x[i]
    return kept


def train(
    init: list[Tensor],
    grads: list[list[Tensor]],
    *,
    lr: float,
    num_grads: int,
    damping: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    density: float = 1.0,
    block: int = 4096,
) -> list[list[Tensor]]:
    """Parameters after each step, all in one flat vector with the dense inverse."""
    shapes = [p.shape for p in init]
    flat = torch.cat([p.reshape(-1) for p in init])
    window: list[Tensor] = []
    velocity, waiting = torch.zeros_like(flat), torch.zeros_like(flat)
    after = []
    for step in grads:
        x = waiting + torch.cat([part.reshape(-1) for part in step]) + weight_decay * flat
        g = largest_by_block(x, density=density, block=block)
        waiting = x - g
        window = [*window, g][-num_grads:]
        u = dense_inverse_product(window, g, num_grads=num_grads, damping=damping)
        velocity = momentum * velocity + (1 - momentum) * u
        flat = flat - lr * velocity
        pieces = flat.split([shape.numel() for shape in shapes])
        after.append([piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)])
    return after
