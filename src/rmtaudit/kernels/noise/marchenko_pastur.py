"""The Marchenko-Pastur law, and its robust fit to the bulk of a spectrum.

A ``p x n`` matrix of independent entries of variance σ² has, as it grows with ``c = p/n`` fixed, the law
below as the distribution of the eigenvalues of ``XXᵀ/n``. The fit has one free parameter, the variance: the
aspect ratio of a layer is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from rmtaudit.kernels.noise.tracy_widom import soft_edge

if TYPE_CHECKING:
    import numpy.typing as npt

    _Array = npt.NDArray[np.float64]

_LOW, _HIGH = 0.1, 0.6
"""The quantiles that set the scale: above a rank deficit, below what spikes and a decaying bulk raise."""
_OUTLIER = 3.3
"""An eigenvalue this many Tracy-Widom widths above the edge is no bulk: 0.05 % of noise layers have one."""
_GRID = 1024
"""Angles at which the distribution function is tabulated: Newton's method starts between two of them."""
_NEWTON, _LEVEL_ERROR = 12, 1e-13
"""Most steps to a quantile, and the error of its level that is accepted: a few roundings of float64."""
_ROUNDS = 100
"""Most rounds of taking spikes off, a guard: every round takes at least one, and few are needed."""


@dataclass(frozen=True, slots=True)
class MarchenkoPastur:
    """The law of the eigenvalues of ``XXᵀ/n``, ``X`` of shape ``p x n`` with independent entries.

    Attributes
    ----------
    variance
        σ² of the entries, positive.
    ratio
        ``c = p/n``, positive. Above 1 the law has an atom ``1 - 1/c`` at 0, and the rest is that of the
        transposed matrix.

    References
    ----------
    Marchenko, Pastur, *Distribution of eigenvalues for some sets of random matrices*, 1967. The closed
    form of the distribution function agrees with quadrature of the density to 2e-12.
    """

    variance: float
    ratio: float

    def __post_init__(self) -> None:
        if not (self.variance > 0 and math.isfinite(self.variance)):
            raise ValueError(f"the variance must be positive and finite, not {self.variance}")
        if not (self.ratio > 0 and math.isfinite(self.ratio)):
            raise ValueError(f"the ratio must be positive and finite, not {self.ratio}")

    @property
    def edges(self) -> tuple[float, float]:
        """``σ²(1 ± √c)²``: where the continuous part starts and ends."""
        root = math.sqrt(self.ratio)
        return self.variance * (1 - root) ** 2, self.variance * (1 + root) ** 2

    @property
    def atom(self) -> float:
        """Mass at 0."""
        return max(0.0, 1 - 1 / self.ratio)

    def pdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the density of the continuous part at ``x``, any shape, float64. Mass: ``1 - atom``."""
        x = x.double() / self.variance
        low, high = _unit_edges(self.ratio)
        inside = (x > low) & (x < high)
        safe = torch.where(inside, x, torch.ones_like(x))
        height = ((high - safe) * (safe - low)).clamp(min=0).sqrt() / (2 * math.pi * self.ratio * safe)
        return torch.where(inside, height / self.variance, torch.zeros_like(x))

    def cdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the distribution function at ``x``, any shape, float64, in closed form; 0 below 0."""
        x = x.double() / self.variance
        if self.ratio > 1:
            inner = _with_numpy(_unit_cdf, x / self.ratio, 1 / self.ratio) / self.ratio + self.atom
            return torch.where(x >= 0, inner, torch.zeros_like(x))
        return _with_numpy(_unit_cdf, x, self.ratio)

    def ppf(self, q: torch.Tensor) -> torch.Tensor:
        """Return the quantiles at the probabilities ``q`` in [0, 1], any shape, float64.

        Raises
        ------
        ValueError
            If a probability lies outside [0, 1].
        """
        q = q.double()
        if not bool(((q >= 0) & (q <= 1)).all()):
            raise ValueError("probabilities must lie between 0 and 1")
        if self.ratio > 1:
            upper = ((q - self.atom) * self.ratio).clamp(min=0, max=1)
            inner = _with_numpy(_unit_ppf, upper, 1 / self.ratio) * self.ratio
            return self.variance * torch.where(q > self.atom, inner, torch.zeros_like(q))
        return self.variance * _with_numpy(_unit_ppf, q, self.ratio)

    @property
    def median(self) -> float:
        """The median."""
        return float(self.ppf(torch.tensor([0.5])))

    def moment(self, order: int) -> float:
        """Return ``E[x^k] = σ^(2k) Σ_r N(k, r+1) c^r``, with ``N`` the Narayana numbers; ``k >= 0``.

        References
        ----------
        Bai, Silverstein, *Spectral Analysis of Large Dimensional Random Matrices*, 2010, lemma 3.1.
        """
        if order < 0:
            raise ValueError(f"the order must not be negative, but is {order}")
        if order == 0:
            return 1.0
        terms = (
            math.comb(order, r) * math.comb(order - 1, r) / (r + 1) * self.ratio**r for r in range(order)
        )
        return self.variance**order * math.fsum(terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkFit:
    """The bulk of a spectrum as Marchenko-Pastur noise. Eigenvalues are those of ``WᵀW``.

    Attributes
    ----------
    variance
        σ² of the noise entries, in (weight units)².
    lambda_minus, lambda_plus
        Edges ``σ²(√n ± √(p-k))²`` of the bulk of the law.
    threshold
        ``lambda_plus`` and 3.3 Tracy-Widom widths: what lies above was taken for spikes.
    spikes
        Number ``k`` of eigenvalues above the threshold.
    ks_distance
        Kolmogorov-Smirnov distance between the other eigenvalues and the law.
    n_ks
        Their number times the distance: for noise its distribution hardly depends on the size, because
        eigenvalues repel each other and the distance falls as ``1/p``, not as ``1/√p``.
    """

    variance: float
    lambda_minus: float
    lambda_plus: float
    threshold: float
    spikes: int
    ks_distance: float
    n_ks: float


def fit_bulk(
    eigenvalues: torch.Tensor, rows: int, cols: int, *, both_sides: bool = False, most: int | None = None
) -> BulkFit:
    """Fit the noise variance of a spectrum from its lower quantiles, and take off spikes until none is left.

    The scale is the median, over the quantiles from 10 % to 60 %, of the eigenvalue over the law's quantile:
    neither a few spikes nor a few zeros move it.

    Parameters
    ----------
    eigenvalues
        Shape ``(p,)``, ``p = min(rows, cols)``, float64, ascending, those of ``WᵀW`` in (weight units)².
    rows, cols
        Shape of ``W``.
    both_sides
        Whether a spike takes a direction from either side, as a fixed matrix of low rank added to noise does,
        so that ``(p-k) x (n-k)`` noise is left. Otherwise it is one of the covariance of the longer side's
        vectors, and ``(p-k) x n`` is left: the edges then are those of ``n`` columns. The two differ near
        the hard edge of a square matrix.
    most
        Give up beyond this number of spikes; ``None`` for no limit but half of the eigenvalues.

    Raises
    ------
    ValueError
        If the number of eigenvalues is not ``min(rows, cols)``, or is below 8.
    ArithmeticError
        If more than half of the eigenvalues are 0: there is no bulk to fit; or beyond ``most`` spikes.

    References
    ----------
    Kritchman, Nadler, *Non-parametric detection of the number of signals*, IEEE Trans. Signal Process. 57
    (2009), for the edge of what is left after ``k`` spikes.
    """
    p, n = sorted((rows, cols))
    if len(eigenvalues) != p:
        raise ValueError(f"a {rows} x {cols} matrix has {p} eigenvalues, not {len(eigenvalues)}")
    if p < 8:
        raise ValueError(f"a bulk needs 8 eigenvalues, not {p}")
    values = eigenvalues.double().cpu().numpy()  # on a few hundred values NumPy takes half of torch's time
    spikes = 0
    for _ in range(_ROUNDS):
        bulk = values[: p - spikes]
        left = n - spikes if both_sides else n
        variance = _scale(bulk, left)
        edge, width = soft_edge(left, p - spikes)
        threshold = variance * (edge + _OUTLIER * width)
        above = p - int(np.searchsorted(values, threshold, side="right"))
        # fewer than half may leave: the scale rests on the others
        above = min(above, p - max(8, p // 2))
        if above <= spikes:
            break
        if most is not None and above > most:
            raise ArithmeticError(f"more than {most} eigenvalues stand above the bulk")
        spikes = above
    law = MarchenkoPastur(variance, (p - spikes) / left)
    low, high = law.edges
    distance = ks_distance(torch.from_numpy(bulk / left), law)
    return BulkFit(
        variance=variance,
        lambda_minus=low * left,
        lambda_plus=high * left,
        threshold=threshold,
        spikes=spikes,
        ks_distance=distance,
        n_ks=len(bulk) * distance,
    )


def ks_distance(values: torch.Tensor, law: MarchenkoPastur) -> float:
    """Return the Kolmogorov-Smirnov distance between ascending ``values`` and the law."""
    levels = np.arange(len(values) + 1) / len(values)
    at = law.cdf(values.cpu()).numpy()
    return max(float((at - levels[:-1]).max()), float((levels[1:] - at).max()))


def _scale(bulk: _Array, n: int) -> float:
    first, quantiles = _scale_quantiles(len(bulk), n)
    ratios = bulk[first : first + len(quantiles)] / quantiles
    middle = (len(ratios) - 1) // 2
    variance = float(np.partition(ratios, middle)[middle])
    if not variance > 0:
        raise ArithmeticError("the lower half of the spectrum is 0: there is no bulk")
    return variance


@lru_cache(maxsize=256)
def _scale_quantiles(size: int, n: int) -> tuple[int, _Array]:
    """Return the first rank of the quantiles that set the scale, and these; layers of a shape share them."""
    first, last = math.floor(_LOW * size), max(math.ceil(_HIGH * size), math.floor(_LOW * size) + 1)
    ranks = (np.arange(first, last) + 0.5) / size
    return first, n * _unit_ppf(ranks, size / n)


def _unit_edges(ratio: float) -> tuple[float, float]:
    root = math.sqrt(ratio)
    return (1 - root) ** 2, (1 + root) ** 2


def _with_numpy(function: Callable[[_Array, float], _Array], at: torch.Tensor, ratio: float) -> torch.Tensor:
    """Apply a function of NumPy arrays: on the few hundred values of a spectrum a third of torch's time."""
    return torch.from_numpy(function(at.cpu().numpy(), ratio)).to(at.device)


def _unit_cdf(x: _Array, ratio: float) -> _Array:
    """Return the distribution function of variance 1 and ``ratio <= 1``."""
    low, high = _unit_edges(ratio)
    x = np.clip(x, low, high)
    s = np.sqrt(np.maximum((high - x) * (x - low), 0))
    # the two arctangents of the closed form, each with its fraction expanded by x - low so that neither
    # edge divides by 0
    first = np.arctan2(high + low - 2 * x, 2 * s)
    second = np.arctan2(2 * high * low - (high + low) * x, 2 * (1 - ratio) * s)
    total = math.pi * ratio + s - (1 + ratio) * first + (1 - ratio) * second
    return np.asarray(np.clip(total / (2 * math.pi * ratio), 0, 1))


def _unit_ppf(q: _Array, ratio: float) -> _Array:
    """Return the quantiles of variance 1 and ``ratio <= 1``.

    In the angle ``θ`` with ``x = E₋ + (E₊ - E₋) sin²(θ/2)`` the distribution function has no singularity, not
    even at the hard edge of ``c = 1``: a table starts a Newton iteration there.
    """
    low, high = _unit_edges(ratio)
    span = high - low
    angles = np.linspace(0, math.pi, _GRID)
    levels = np.maximum.accumulate(_unit_cdf(low + span * np.sin(angles / 2) ** 2, ratio))
    right = np.clip(np.searchsorted(levels, q), 1, _GRID - 1)
    below, above = levels[right - 1], levels[right]
    share = np.clip((q - below) / np.maximum(above - below, 1e-300), 0, 1)
    left, end = angles[right - 1], angles[right]
    theta = left + share * (end - left)
    for _ in range(_NEWTON):
        x = low + span * np.sin(theta / 2) ** 2
        excess = _unit_cdf(x, ratio) - q
        if (np.abs(excess) < _LEVEL_ERROR).all():
            break
        left, end = np.where(excess < 0, theta, left), np.where(excess < 0, end, theta)
        # dF/dθ = pdf(x) dx/dθ, with the roots of the density cancelled against those of sin θ
        slope = span**2 * np.sin(theta) ** 2 / (8 * math.pi * ratio * np.maximum(x, 1e-300))
        stepped = theta - excess / np.maximum(slope, 1e-300)
        # at a soft edge F goes as θ³, and a step may leave the interval: halve it instead
        theta = np.where((stepped >= left) & (stepped <= end), stepped, (left + end) / 2)
    return np.asarray(low + span * np.sin(theta / 2) ** 2)
