"""Exchangeability: whether a matrix could be its own entries in a random order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy.special
import torch

from rmtaudit.kernels.forensics.samples import strided

_CAP = 0.9
_SIDE = 1024


@dataclass(frozen=True, slots=True)
class Exchangeability:
    """P-values of three tests that the entries are in random order.

    Attributes
    ----------
    rows, columns
        Of the test that the mean sizes of the rows (columns) are equal; two-sided.
    products
        Of the test that the rows (columns, of the smaller side) are uncorrelated; two-sided.
    """

    rows: float
    columns: float
    products: float

    @property
    def least(self) -> float:
        """The smallest of the three, corrected for their number."""
        return min(1.0, 3 * min(self.rows, self.columns, self.products))


def exchangeability(matrix: torch.Tensor, eigenvalues: torch.Tensor) -> Exchangeability:
    r"""Test whether a random permutation of the entries would look the same.

    Null hypothesis: every arrangement of the entries is equally likely, as after a shuffle or in a freshly
    drawn layer, whatever the distribution of the entries. A trained layer has rows and columns of unequal
    size, and correlated ones; it is rejected overwhelmingly.

    - Rows (columns): with ``t = min(|w|, its 90 % quantile)``, bounded so that normal theory holds for heavy
      tails, :math:`Σ_i (\bar t_i - \bar t)^2 / (\mathrm{var}(t)/C · (RC - C)/(RC - 1))` is χ² with ``R - 1``
      degrees of freedom. At most 1024 rows and columns, evenly spaced, are used.
    - Products: with ``s² = mean(w²)``, kurtosis ``κ`` and ``R <= C``,
      :math:`Σ_{i≠k} (w_i·w_k)^2 = Σλ^2 - Σ_i |w_i|^4` has mean ``R (R-1) C s⁴`` (plus the share of a mean
      that is not zero) and relative standard deviation ``√(2 (2 + (κ² - 3)/C))/R``; normal for large
      matrices.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, float32 or float64, finite, not constant.
    eigenvalues
        Of ``WᵀW``, shape ``(min(rows, cols),)``, float64.

    Raises
    ------
    ValueError
        If the matrix is smaller than 8 x 8.
    """
    if min(matrix.shape) < 8:
        raise ValueError(f"at least 8 rows and columns are needed, not {tuple(matrix.shape)}")
    part = matrix[:: -(-matrix.shape[0] // _SIDE), :: -(-matrix.shape[1] // _SIDE)].abs().double()
    sizes = part.clamp(max=float(strided(part, 10_000).quantile(_CAP)))
    rows, columns = _profile(sizes, 1), _profile(sizes, 0)
    if min(rows, columns) < 1e-12:  # decided: the third test reads the whole matrix
        return Exchangeability(rows, columns, 1.0)
    return Exchangeability(rows, columns, _products(matrix, eigenvalues))


def _profile(sizes: torch.Tensor, along: int) -> float:
    """Return the two-sided p-value of equal means."""
    total, each = sizes.numel(), sizes.shape[along]
    variance = float(sizes.var(correction=0))
    if variance == 0:
        return 1.0
    means = sizes.mean(along)
    expected = variance / each * (total - each) / (total - 1)
    statistic = float((means - means.mean()).square().sum()) / expected
    freedom = len(means) - 1
    upper = float(scipy.special.chdtrc(freedom, statistic))
    return min(1.0, 2 * min(upper, float(scipy.special.chdtr(freedom, statistic))))


def _products(matrix: torch.Tensor, eigenvalues: torch.Tensor) -> float:
    lines = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    count, length = lines.shape
    scale = float(eigenvalues.max()) or 1.0
    mean_square = float(eigenvalues.sum()) / scale / lines.numel()
    relative = lines.double() / math.sqrt(scale)
    squares = relative.square()
    kurtosis = float(squares.square().mean()) / mean_square**2
    products = float((eigenvalues / scale).square().sum()) - float(squares.sum(1).square().sum())
    mean_share = (length - 1) * float(relative.mean()) ** 4 / mean_square**2
    ratio = products / (count * (count - 1) * length * mean_square**2) - mean_share
    deviation = math.sqrt(2 * (2 + (kurtosis**2 - 3) / length)) / count
    return math.erfc(abs(ratio - 1) / deviation / math.sqrt(2))
