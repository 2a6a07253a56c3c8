"""Fixed-aspect subsampling: exponents that can be compared between layers of different shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from rmtaudit.kernels.noise.marchenko_pastur import MarchenkoPastur
from rmtaudit.kernels.spectra.gram import eigenvalues, gram, tall


@dataclass(frozen=True, slots=True)
class FarmsAlpha:
    """Hill exponent of pooled windows of one aspect ratio.

    ``alpha_null`` is the same of noise, from the Marchenko-Pastur law of the windows; ``window`` their shape
    and ``windows`` their number.
    """

    alpha: float
    alpha_null: float
    window: tuple[int, int]
    windows: int


def farms_alpha(matrix: torch.Tensor, *, side: int = 100, aspect: int = 2, grid: int = 10) -> FarmsAlpha:
    """Return the mid-spectrum Hill exponent of windows of ``aspect * side`` by ``side``, pooled.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, floating, finite. The longer side of a window runs along the longer side.
    side
        Shorter side of a window; cut to what the matrix holds.
    aspect
        Longer over shorter side of a window, at least 1.
    grid
        Windows a side, evenly spaced; fewer where they would coincide.

    Raises
    ------
    ValueError
        If the matrix is too small for a window of side 8, or ``side`` is less than that.
    ArithmeticError
        If the upper half of the pooled eigenvalues is not positive and varied.

    References
    ----------
    Hu et al., *Eigenspectrum analysis of neural networks without aspect ratio bias* (FARMS), 2025. The
    published code does not transpose wide layers, and its windows then leave the matrix; these never do.
    """
    long = tall(matrix)
    n, p = long.shape
    side = min(side, p, n // aspect)
    if side < 8:
        raise ValueError(f"{n} x {p} is too small for windows of aspect {aspect}")
    rows, cols = _starts(n, aspect * side, grid), _starts(p, side, grid)
    pooled = torch.cat(
        [eigenvalues(gram(long[i : i + aspect * side, j : j + side])) for i in rows for j in cols]
    )
    law = MarchenkoPastur(1.0, 1 / aspect)
    ranks = (torch.arange(4096, dtype=torch.float64) + 0.5) / 4096
    return FarmsAlpha(
        hill_alpha(pooled), hill_alpha(law.ppf(ranks)), (aspect * side, side), len(rows) * len(cols)
    )


def hill_alpha(values: torch.Tensor) -> float:
    """Return ``1 + m/Σ log(x/x_mid)`` over the upper half of ``values``: ``m`` of them, from ``x_mid`` on.

    Raises
    ------
    ArithmeticError
        If that half is not positive, or all equal.

    References
    ----------
    Hill, *A simple general approach to inference about the tail of a distribution*, Ann. Stat. 3 (1975); at
    the middle as in TempBalance and FARMS.
    """
    ordered = np.sort(values.double().cpu().numpy())
    upper = ordered[ordered.size // 2 :]
    if not upper[0] > 0:
        raise ArithmeticError("half of the eigenvalues are 0")
    total = float(np.log(upper / upper[0]).sum())
    if not (total > 0 and math.isfinite(total)):
        raise ArithmeticError("the upper half of the eigenvalues is all equal")
    return 1 + upper.size / total


def _starts(length: int, window: int, grid: int) -> list[int]:
    return sorted({round(float(start)) for start in np.linspace(0, length - window, grid)})
