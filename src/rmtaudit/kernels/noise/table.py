"""What the bulk distance and the power-law exponent are on pure noise: simulated tables.

``benchmarks/calibrate_noise.py`` makes them; ``docs/calibration.md`` says how many layers went in. Between
the simulated shapes both are interpolated in the logarithms of the smaller side and of the aspect ratio.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Quantity = Literal["bulk", "alpha"]
LEAST_P = 1e-300
"""No p-value is smaller: a convention, so that it has a logarithm and stays a normal number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlphaNull:
    """The exponent that the power-law fit finds on noise of a shape.

    Attributes
    ----------
    median, low, high
        Median and 5 % and 95 % quantiles over noise layers.
    p_value
        Share of noise layers with an exponent as small as the one asked about; never below the table's least
        probability, ``floor``, which then is only a bound.
    floor
        The least probability of the table.
    """

    median: float
    low: float
    high: float
    p_value: float
    floor: float


def bulk_p_value(n_ks: float, rows: int, cols: int) -> float:
    """Return the probability that the bulk of a noise layer is as far from the Marchenko-Pastur law.

    Parameters
    ----------
    n_ks
        As in :class:`rmtaudit.kernels.noise.marchenko_pastur.BulkFit`.
    rows, cols
        Shape of the layer.

    Notes
    -----
    The simulated noise has Student t entries of 5 degrees of freedom, evened out by Sinkhorn's scaling, which
    raises ``n_ks`` above that of Gaussian entries or the plain fit: for those the p-value is too large
    rather than too small. Beyond the 99 % quantile the logarithm of the tail is continued as a straight line,
    which decays slower than the tail does.
    """
    table = _load()
    probabilities, quantiles = table.probabilities, table.quantiles("bulk", rows, cols)
    survival = np.log1p(-probabilities)
    if n_ks <= quantiles[0]:
        return 1.0
    if n_ks <= quantiles[-1]:
        return float(np.exp(np.interp(n_ks, quantiles, survival)))
    anchor = int(np.searchsorted(probabilities, 0.9))
    slope = (survival[-1] - survival[anchor]) / (quantiles[-1] - quantiles[anchor])
    return max(LEAST_P, math.exp(max(-690.0, survival[-1] + slope * (n_ks - quantiles[-1]))))


def alpha_null(alpha: float, rows: int, cols: int) -> AlphaNull:
    """Return what :func:`rmtaudit.kernels.powerlaw.fit.fit_power_law` finds on Gaussian noise of this shape.

    The exponent of the law's own quantiles is computed for the exact shape; the table holds the spread of
    ``(alpha - 1)`` about it.

    Parameters
    ----------
    alpha
        The exponent of the layer, above 1, fitted with ``min_tail=8``.
    rows, cols
        Shape of the layer, the smaller side at least 8.

    Raises
    ------
    ValueError
        If the smaller side is below 8.
    """
    table = _load()
    centre = deterministic_alpha(rows, cols) - 1
    ratios = table.quantiles("alpha", rows, cols)
    probabilities = table.probabilities
    median, low, high = (float(np.interp(level, probabilities, ratios)) for level in (0.5, 0.05, 0.95))
    share = np.exp(np.interp(math.log(alpha - 1), np.log(ratios * centre), np.log(probabilities)))
    return AlphaNull(
        median=1 + centre * median,
        low=1 + centre * low,
        high=1 + centre * high,
        p_value=float(share),
        floor=float(probabilities[0]),
    )


@cache
def deterministic_alpha(rows: int, cols: int) -> float:
    """Return the exponent fitted to the ``min(rows, cols)`` midpoint quantiles of the Marchenko-Pastur law.

    Raises
    ------
    ValueError
        If the smaller side is below 8.
    """
    import torch

    from rmtaudit.kernels.noise.marchenko_pastur import MarchenkoPastur
    from rmtaudit.kernels.powerlaw.fit import NoFit, fit_power_law

    p, n = sorted((rows, cols))
    if p < 8:
        raise ValueError(f"a tail needs 8 eigenvalues, but the smaller side is {p}")
    ranks = (torch.arange(p, dtype=torch.float64) + 0.5) / p
    fit = fit_power_law(MarchenkoPastur(1.0, p / n).ppf(ranks), min_tail=8, stability=False)
    if isinstance(fit, NoFit):
        raise ArithmeticError(fit.reason)  # noqa: TRY004  an outcome, not a wrong argument
    return fit.alpha


@dataclass(frozen=True)
class _Table:
    probabilities: NDArray[np.float64]
    sides: dict[str, NDArray[np.float64]]
    aspects: dict[str, NDArray[np.float64]]
    cells: dict[str, NDArray[np.float64]]
    """By quantity: shape ``(sides, aspects, probabilities)``."""

    def quantiles(self, quantity: Quantity, rows: int, cols: int) -> NDArray[np.float64]:
        """Return the quantiles at a shape; shapes beyond the table get those of its border."""
        p, n = sorted((rows, cols))
        cells = self.cells[quantity]
        i, u = _place(math.log(p), np.log(self.sides[quantity]))
        j, v = _place(math.log(n / p), np.log(self.aspects[quantity]))
        lower = (1 - v) * cells[i, j] + v * cells[i, j + 1]
        upper = (1 - v) * cells[i + 1, j] + v * cells[i + 1, j + 1]
        quantiles: NDArray[np.float64] = (1 - u) * lower + u * upper
        return quantiles


def _place(value: float, grid: NDArray[np.float64]) -> tuple[int, float]:
    index = int(np.clip(np.searchsorted(grid, value) - 1, 0, grid.size - 2))
    return index, float(np.clip((value - grid[index]) / (grid[index + 1] - grid[index]), 0, 1))


@cache
def _load() -> _Table:
    text = resources.files("rmtaudit.kernels").joinpath("tables", "noise.json").read_text(encoding="utf-8")
    document = json.loads(text)
    parts = {name: document[name] for name in ("bulk", "alpha")}
    return _Table(
        np.array(document["probabilities"]),
        {name: np.array(part["sides"], dtype=np.float64) for name, part in parts.items()},
        {name: np.array(part["aspects"], dtype=np.float64) for name, part in parts.items()},
        {name: np.array(part["quantiles"], dtype=np.float64) for name, part in parts.items()},
    )
