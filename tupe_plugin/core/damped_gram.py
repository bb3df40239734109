"""A = ridge I + K for a Gram matrix K, and A^-1, as one row and column of K after another changes.

Taking out index j and putting in a new row and column (b, k_jj), with P = A^-1:

    Q   = P - p p^T / p_jj                 p = P e_j;  Q is the inverse without index j
    w   = e_j - Q b
    s   = w^T A' w                         Schur complement; s >= ridge, because K >= 0
    x   = w / s                            A'^-1 e_j, the column that M-FAC needs
    P'  = Q + x x^T / x_j

O(m^2) an exchange.  p and w are refined against A and A' themselves (p += P (e_j - A p)), so that
errors of P do not feed on each other; the size of that correction also tells when P has drifted too
far.  Then, and once in m exchanges, A is factorised anew (Cholesky).  All of it is in float64.

s is far smaller than k_jj where the new row is nearly a combination of others, so it is not taken
as ridge + k_jj - b^T Q b: an error of P would count there times |b|^2.  In the form above it is a
minimum over w, and an error of w counts squared.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MAX_REFINEMENTS = 16
EPS = torch.finfo(torch.float64).eps


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
        self.repaired = False  # K was not >= 0 when it was last factorised
        self.gram = torch.zeros(size, size, dtype=torch.float64, device=device)
        self.inverse = torch.eye(size, dtype=torch.float64, device=device) / ridge

    def clear(self) -> None:
        """Make K zero again."""
        self.repaired = False
        self.gram.zero_()
        self.inverse.zero_().fill_diagonal_(1.0 / self.ridge)

    def exchange(self, slot: int, products: Tensor) -> Tensor:
        """Make ``products`` row and column ``slot`` of K.

        Args:
            slot: index of the row.
            products: ``(size,)`` float64.

        Returns:
            A^-1 e_slot, ``(size,)``.
        """
        p = self._refined(self.inverse[:, slot], slot, self.inverse)
        self.gram[slot] = products
        self.gram[:, slot] = products
        if p is None or slot == self.size - 1:
            return self._column_from_factors(slot)
        q = self.inverse.addr_(p, p, alpha=-1.0 / float(p[slot]))
        q[slot] = 0.0
        q[:, slot] = 0.0
        guess = torch.mv(q, products).neg_()
        guess[slot] = 1.0
        w = self._refined(guess, slot, q, c=None)
        if w is None:
            return self._column_from_factors(slot)
        schur = float(torch.dot(w, self._multiply(w)))
        # Half: less can only come from rounding, in K.
        if not schur >= self.ridge / 2:
            return self._column_from_factors(slot)
        x = w / schur
        self.inverse.addr_(x, x, alpha=schur)
        return x

    def replace(self, gram: Tensor) -> None:
        """Make ``gram`` the first rows and columns of K, and all others zero."""
        self.gram.zero_()
        self.gram[: len(gram), : len(gram)] = gram
        self.factorise()

    def column(self, slot: int) -> Tensor:
        """A^-1 e_slot, refined as far as it goes."""
        x = self._refined(self.inverse[:, slot], slot, self.inverse)
        return self.inverse[:, slot].clone() if x is None else x

    def expected_error(self, x: Tensor, slot: int) -> float:
        """Relative error of G^T x that rounding causes, over the size of the rounding; K = G G^T.

        For x = A^-1 e_slot, products k_ij that are off by independent amounts of |g_i| |g_j| each,
        as rounding of their sums is, and a sum G^T x that is off by as much.  To first order

            error^2 = S (1 + sum_i |g_i|^2 (P K P)_ii) / |G^T x|^2       S = sum_i x_i^2 |g_i|^2

        That is sqrt(1 + m) for orthogonal gradients of any length, and for r of them that are
        repeated m / r times, |g|^2 / damp sqrt(1/r^2 + 1/m), for ridge = m damp.  It is not above
        r = 1's: that is the answer where |G^T x|, a difference, is lost in float64, too.
        """
        length = float(x[slot] - self.ridge * torch.dot(x, x))
        squares = self.gram.diagonal()
        # P K P = P - ridge P^2.
        spread = self.inverse.diagonal() - self.ridge * self.inverse.norm(dim=1).square()
        amplified = 1.0 + torch.dot(squares, spread.clamp(min=0.0))
        noise = float(torch.dot(x.square(), squares) * amplified)
        if noise == 0.0:
            return 0.0
        most = self.size * float(squares.max()) / self.ridge + math.sqrt(1.0 + self.size)
        return min(most, math.sqrt(noise / length)) if length > 0.0 else most

    def solve(self, rhs: Tensor) -> Tensor:
        """A^-1 times ``(size,)``."""
        x = torch.mv(self.inverse, rhs)
        for _ in range(3):
            x = x + torch.mv(self.inverse, rhs - self._multiply(x))
        return x

    def factorise(self) -> None:
        """Compute A^-1 from K, whatever it was."""
        matrix = self.gram.clone()
        matrix.diagonal().add_(self.ridge)
        factor, info = torch.linalg.cholesky_ex(matrix)
        # The squared pivots are Schur complements: see above.
        self.repaired = int(info) != 0 or float(factor.diagonal().square().min()) < self.ridge / 2
        if not self.repaired:
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
        return self.column(slot)

    def _refined(
        self, x: Tensor, slot: int, inverse: Tensor, *, c: float | None = 1.0
    ) -> Tensor | None:
        """x += inverse (c e_slot - A x) until it settles, whatever c if None; None if it does not.

        It has settled when it solves a system as near to A as float64 can tell from it.  The size
        of the corrections would not do: they are small, too, where the inverse has lost the
        directions in which x is wrong.
        """
        limit = 4 * EPS * (float(self.gram.diagonal().sum()) + self.ridge)
        for _ in range(MAX_REFINEMENTS):
            residual = self._multiply(x).neg_()
            residual[slot] = 0.0 if c is None else residual[slot] + c
            settled = bool(residual.norm() <= limit * x.norm())
            x = x + torch.mv(inverse, residual)
            if settled:
                return x
        return None

    def _multiply(self, x: Tensor) -> Tensor:
        return torch.mv(self.gram, x).add_(x, alpha=self.ridge)
