"""A = ridge I + K for a Gram matrix K, and A^-1, as one row and column of K after another changes.

Taking out index j and putting in a new row and column (b, k_jj), with P = A^-1:

    Q   = P - p p^T / p_jj                 p = P e_j;  Q is the inverse without index j
    s   = ridge + k_jj - b^T Q b           Schur complement; s >= ridge, because K >= 0
    x   = (e_j - Q b) / s                  A'^-1 e_j, the column that M-FAC needs
    P'  = Q + x x^T / x_j

O(m^2) an exchange.  p and x are refined against A and A' themselves (x += P (e_j - A x)), so that
errors of P do not feed on each other; the size of that correction also tells when P has drifted too
far.  Then, and once in m exchanges, A is factorised anew (Cholesky).  All of it is in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Relative change of x by the last refinement: what is left is smaller by the error of P again.
REFINED = 1e-9
MAX_REFINEMENTS = 3


class DampedGram:
    """``size x size``, K zero at first.

    Args:
        size: rows and columns.
        ridge: added to the diagonal, above 0.
        device: where it is kept.
    """

    def __init__(self, size: int, *, ridge: float, device: torch.device | str) -> None:
        self.size = size
        self.ridge = ridge
        self.gram = torch.zeros(size, size, dtype=torch.float64, device=device)
        self.inverse = torch.eye(size, dtype=torch.float64, device=device) / ridge

    def exchange(self, slot: int, products: Tensor) -> Tensor:
        """Make ``products`` row and column ``slot`` of K.

        Args:
            slot: index of the row.
            products: ``(size,)`` float64.

        Returns:
            A^-1 e_slot, ``(size,)``.
        """
        p = self._refine(slot, self.inverse[:, slot].clone(), self._approximate)
        self.gram[slot] = products
        self.gram[:, slot] = products
        if p is None or slot == self.size - 1:
            return self._column_from_factors(slot)

        q = self.inverse.addr_(p, p, alpha=-1.0 / float(p[slot]))
        b = products.clone()
        b[slot] = 0.0
        w = -torch.mv(q, b)
        schur = self.ridge + float(products[slot] + torch.dot(b, w))
        # Half: less can only come from rounding, in P or in K.
        if not schur >= self.ridge / 2:
            return self._column_from_factors(slot)
        w[slot] = 1.0
        x = self._refine(slot, w / schur, lambda r: torch.mv(q, r) + w * (torch.dot(w, r) / schur))
        if x is None:
            return self._column_from_factors(slot)
        self.inverse.addr_(x, x, alpha=1.0 / float(x[slot]))
        return x

    def solve(self, rhs: Tensor) -> Tensor:
        """A^-1 times ``(size,)``."""
        x = torch.mv(self.inverse, rhs)
        for _ in range(MAX_REFINEMENTS):
            x = x + torch.mv(self.inverse, rhs - self._multiply(x))
        return x

    def factorise(self) -> None:
        """Compute A^-1 from K, whatever it was."""
        matrix = self.gram.clone()
        matrix.diagonal().add_(self.ridge)
        factor, info = torch.linalg.cholesky_ex(matrix)
        # The squared pivots are Schur complements: see above.
        if int(info) == 0 and float(factor.diagonal().square().min()) >= self.ridge / 2:
            # Contiguous, as it comes back from a checkpoint: products round by the layout, too.
            self.inverse = torch.cholesky_inverse(factor).contiguous()
            return
        # The products were rounded by more than the damping: K is not >= 0.  Nearest one that is.
        eigenvalues, eigenvectors = torch.linalg.eigh(self.gram)
        eigenvalues.clamp_(min=0.0)
        self.gram = (eigenvectors * eigenvalues) @ eigenvectors.t()
        self.inverse = (eigenvectors / (eigenvalues + self.ridge)) @ eigenvectors.t()

    def _column_from_factors(self, slot: int) -> Tensor:
        self.factorise()
        column = self.inverse[:, slot].clone()
        x = self._refine(slot, column, self._approximate)
        return column if x is None else x

    def _refine(
        self, slot: int, x: Tensor, approximate_inverse: Callable[[Tensor], Tensor]
    ) -> Tensor | None:
        """A^-1 e_slot from a guess; None if it does not settle."""
        for _ in range(MAX_REFINEMENTS):
            residual = -self._multiply(x)
            residual[slot] += 1.0
            correction = approximate_inverse(residual)
            x = x + correction
            if bool(correction.norm() <= REFINED * x.norm()):
                return x
        return None

    def _approximate(self, rhs: Tensor) -> Tensor:
        return torch.mv(self.inverse, rhs)

    def _multiply(self, x: Tensor) -> Tensor:
        return torch.mv(self.gram, x).add_(x, alpha=self.ridge)
