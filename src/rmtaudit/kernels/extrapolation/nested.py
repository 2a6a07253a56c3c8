"""How well a whole block is predicted from real quarters of it, by each route and by the simple laws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from rmtaudit.kernels.extrapolation.growth import grown_gram
from rmtaudit.kernels.extrapolation.spikes import shared_spikes, without
from rmtaudit.kernels.free.cumulants import cumulant_laws
from rmtaudit.kernels.free.decompression import take_spikes
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.fit import fit_levy
from rmtaudit.kernels.free.validation import wasserstein

USUAL_SLACK = 8.0
"""Slack of a fit where nothing has chosen one: what ``decompress_spectrum`` starts from too."""
_PART, _DRAWS, _FEWEST, _LEAST = 4, 3, 32, 40
"""A convention: quarters of the block predict it, three of them on average. A quarter has the 32 eigenvalues
that a fit needs, and eight more for spikes that are taken out."""
_POINTS, _CELLS = 800, 128
"""A convention: points and cells of laws that are only compared, fewer than those of an answer."""


@dataclass(frozen=True, slots=True)
class Nested:
    """Mean Wasserstein distances from the block's spectrum without spikes, in its standard deviations.

    Attributes
    ----------
    free
        Of free decompression.
    rows
        Of the growth of a Gram matrix by vectors; ``None`` where there are no vectors.
    baselines
        Of the laws of 2, 3 and 4 free cumulants.
    """

    free: float
    rows: float | None
    baselines: Mapping[int, float]

    @property
    def best_baseline(self) -> tuple[int, float]:
        """The simple law that does best, and its distance."""
        order = min(self.baselines, key=lambda key: (self.baselines[key], key))
        return order, self.baselines[order]


def nested_scores(
    matrix: torch.Tensor,
    generator: torch.Generator,
    *,
    positive: bool,
    slack: float = USUAL_SLACK,
    dimension: int | None = None,
) -> Nested | None:
    """Predict the spectrum of a block from random principal quarters of it; ``None`` below 128 rows.

    Unlike :func:`rmtaudit.kernels.free.validation.choose`, which draws free quarters of the eigenvalues
    alone, these are quarters of the matrix itself: a matrix that is not free is seen to be missed.

    Parameters
    ----------
    matrix
        Shape ``(n, n)``, float64, symmetric: the block.
    generator
        Source of the quarters.
    positive, slack
        Class and smoothness of the free fit, as of :func:`rmtaudit.kernels.free.fit.fit_levy`.
    dimension
        Of a Gram matrix, the entries of the vectors whose inner products it holds.
    """
    n = len(matrix)
    if n < _PART * _FEWEST:
        return None
    part = max(n // _PART, _LEAST)  # a fit needs 32 eigenvalues after spikes are taken out
    whole = _bulk(matrix, dimension)[0]
    spread = float(whole.std(correction=0))
    if not spread > 0:
        return None
    factor = n / part
    free: list[float] = []
    rows: list[float] = []
    simple: dict[int, list[float]] = {}
    for _ in range(_DRAWS):
        chosen = torch.randperm(n, generator=generator)[:part]
        block, outliers = _bulk(matrix[chosen][:, chosen], dimension)
        if dimension is not None:
            grown = grown_gram(block, dimension - outliers, factor, points=_POINTS, cells=_CELLS)
            rows.append(float((grown.quantiles(len(whole)) - whole).abs().mean()) / spread)
        fit = fit_levy(block, positive=positive, slacks=(slack,))[0]
        free.append(wasserstein(evolve(fit.measure, factor, _POINTS), whole) / spread)
        for order, law in cumulant_laws(block).items():
            if law.index * factor < 1:
                miss = wasserstein(evolve(law, factor, _POINTS), whole) / spread
                simple.setdefault(order, []).append(miss)
    baselines = {order: _mean(miss) for order, miss in sorted(simple.items()) if len(miss) == _DRAWS}
    return Nested(_mean(free), _mean(rows) if rows else None, baselines)


def _bulk(matrix: torch.Tensor, dimension: int | None) -> tuple[torch.Tensor, int]:
    """Return the ascending spectrum without spikes, and their number."""
    if dimension is None:
        bulk, outliers = take_spikes(torch.linalg.eigvalsh(matrix)[None])
        return bulk[0], len(outliers)
    values, places = shared_spikes(matrix)
    return without(values, places), len(places)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
