"""A predicted spectrum tested by products with the matrix itself, where these can be computed.

Blocks cannot show that a matrix is not like its blocks; products can. The mean of ``λ/(λ + δ)`` is a
distribution function smoothed over a factor of a few in ``λ``, and stochastic Lanczos quadrature knows it to
a standard error, between the bounds of Gauss and of Gauss and Radau.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from rmtaudit.kernels.extrapolation.answer import Prediction
from rmtaudit.kernels.extrapolation.verdict import Obstacle, Verdict
from rmtaudit.kernels.lanczos import start
from rmtaudit.kernels.operators import Gram
from rmtaudit.kernels.slq.quadrature import Rule, gauss, radau
from rmtaudit.kernels.slq.samplers import Sampler

STEPS, BATCH = 60, 8
"""Lanczos steps, and probes at a time: what memory depends on."""
_MOST, _ROWS = 32, 49_152
"""A convention: probes at most, and rows of all probes together: smaller matrices average more, and need
it."""
_LEVELS, _SCALES = (0.05, 0.95), 25
"""A convention: quantiles of the prediction between which scales lie, and their number."""
_SMALLEST = 2e-4
"""Of the largest eigenvalue: below it so many steps leave the two bounds apart."""
_ALLOWED, _SIGNIFICANT = 0.005, 3.0
"""A convention: half a per cent of the eigenvalues, and three standard errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Where a prediction differs most from products with the matrix, in standard errors.

    Attributes
    ----------
    scale
        ``δ``, in units of the eigenvalues.
    predicted
        Mean of ``λ/(λ + δ)`` over the eigenvalues, spikes included, by the law.
    low, high
        What the products bound it by, but for the choice of the probes.
    standard_error
        Of the bounds, from the probes.
    """

    scale: float
    predicted: float
    low: float
    high: float
    standard_error: float

    @property
    def difference(self) -> float:
        """How far the law is outside the bounds."""
        return max(0.0, self.low - self.predicted, self.predicted - self.high)

    @property
    def contradicts(self) -> bool:
        """Whether it exceeds half a per cent and three standard errors."""
        return self.difference > _ALLOWED + _SIGNIFICANT * self.standard_error


def witness(prediction: Prediction, operator: Gram, seed: int) -> Witness:
    """Hold a prediction against products with the matrix, at 25 scales between two of its quantiles.

    Parameters
    ----------
    prediction
        One that is not refused, of the eigenvalues of the operator.
    operator
        The Gram matrix, by products.
    seed
        Of the probes.

    Raises
    ------
    ValueError
        If the prediction is refused.
    ArithmeticError
        If a product is not finite.

    References
    ----------
    Ubaru, Chen, Saad, *Fast estimation of tr(f(A)) via stochastic Lanczos quadrature*, 2017.
    """
    n = operator.size
    law = prediction.quantiles(4000)
    spikes = len(prediction.spikes) / n
    top = max([float(law[-1]), *(place for _, place in prediction.spikes if place is not None)])
    least, most = (math.log(max(float(law[int(level * len(law))]), _SMALLEST * top)) for level in _LEVELS)
    scales = torch.linspace(least, most, _SCALES, dtype=torch.float64).exp().tolist()
    probes = min(_MOST, max(BATCH, _ROWS // n))
    sampler = Sampler(seed)
    above: list[torch.Tensor] = []
    below: list[torch.Tensor] = []
    for first in range(0, probes, BATCH):
        jacobi = start(operator, sampler.unit(range(first, first + BATCH), n)).extend(min(STEPS, n))
        # of 1/(λ + δ) Gauss is a lower bound and Radau with the node 0 an upper one
        above.append(_shares(gauss(jacobi), scales))
        below.append(_shares(radau(jacobi, 0.0), scales))
    lower, upper = torch.cat(below), torch.cat(above)
    errors = torch.maximum(lower.std(0), upper.std(0)) / math.sqrt(len(upper))
    observed = [
        Witness(
            scale=scale,
            predicted=(1 - spikes) * float((law / (law + scale)).mean()) + spikes,
            low=low,
            high=high,
            standard_error=error,
        )
        for scale, low, high, error in zip(
            scales, lower.mean(0).tolist(), upper.mean(0).tolist(), errors.tolist(), strict=True
        )
    ]
    return max(observed, key=lambda one: one.difference / (_ALLOWED + _SIGNIFICANT * one.standard_error))


def _shares(rule: Rule, scales: list[float]) -> torch.Tensor:
    """Return the mean of ``λ/(λ + δ)`` by the rule of each probe, shape ``(s, scales)``."""
    return torch.stack([(rule.weights * rule.nodes / (rule.nodes + one)).sum(1) for one in scales], 1)


def refuted(prediction: Prediction, by: Witness) -> Prediction:
    """Return the prediction, refused if it is contradicted."""
    if not by.contradicts:
        return prediction
    reason = (
        f"products with the whole matrix contradict it: the mean of λ/(λ + {by.scale:.3g}) is "
        f"{by.low:.1%} to {by.high:.1%} ± {by.standard_error:.1%}, not {by.predicted:.1%}"
    )
    return replace(
        prediction,
        verdict=Verdict(obstacle=Obstacle.CONTRADICTED, measure=by.difference, detail=reason),
        law=None,
        replicas=(),
        alternatives=(),
        extremes=(),
        smooth=None,
        smoothed=(),
        pooled=False,
    )
