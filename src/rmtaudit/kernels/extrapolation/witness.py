"""A predicted spectrum held against products with the matrix itself, where those can be had.

Blocks cannot show that a matrix is not like its blocks; products can. The mean of ``λ/(λ + δ)`` is a
distribution function smoothed over a factor of a few in ``λ``, and stochastic Lanczos quadrature knows it to
a standard error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from rmtaudit.kernels.extrapolation.prediction import REFUSED, Prediction
from rmtaudit.kernels.slq.lanczos import start
from rmtaudit.kernels.slq.operators import Gram
from rmtaudit.kernels.slq.quadrature import gauss
from rmtaudit.kernels.slq.samplers import Sampler

STEPS, BATCH = 40, 8
"""Lanczos steps, and probes at a time: what memory depends on."""
_MOST, _ROWS = 32, 49_152
_LEVELS = (0.05, 0.2, 0.5, 0.8, 0.95)
_SMALLEST = 1e-9
_ALLOWED, _SIGNIFICANT = 0.005, 3.0


@dataclass(frozen=True, slots=True)
class Witness:
    """Where a prediction differs most from products with the matrix, in standard errors.

    Attributes
    ----------
    scale
        ``δ``, in units of the eigenvalues.
    predicted, found
        Mean of ``λ/(λ + δ)`` over the eigenvalues, spikes included: by the law, and by the products.
    standard_error
        Of ``found``.
    """

    scale: float
    predicted: float
    found: float
    standard_error: float

    @property
    def difference(self) -> float:
        """Absolute difference of the two."""
        return abs(self.predicted - self.found)

    @property
    def contradicts(self) -> bool:
        """Whether it exceeds half a per cent and three standard errors."""
        return self.difference > _ALLOWED + _SIGNIFICANT * self.standard_error


def witness(prediction: Prediction, operator: Gram, seed: int) -> Witness:
    """Hold a prediction against products with the matrix, at the scales of five of its quantiles.

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
    scales = [float(law[int(level * len(law))].clamp(min=_SMALLEST * float(law[-1]))) for level in _LEVELS]
    probes = min(_MOST, max(BATCH, _ROWS // n))
    sampler = Sampler(seed)
    each: list[torch.Tensor] = []
    for first in range(0, probes, BATCH):
        rule = gauss(start(operator, sampler.unit(range(first, first + BATCH), n)).extend(min(STEPS, n)))
        each.append(
            torch.stack([(rule.weights * rule.nodes / (rule.nodes + one)).sum(1) for one in scales], 1)
        )
    drawn = torch.cat(each)
    found, errors = drawn.mean(0).tolist(), (drawn.std(0) / math.sqrt(len(drawn))).tolist()
    seen = [
        Witness(scale, (1 - spikes) * float((law / (law + scale)).mean()) + spikes, mean, error)
        for scale, mean, error in zip(scales, found, errors, strict=True)
    ]
    return max(seen, key=lambda one: one.difference / (_ALLOWED + _SIGNIFICANT * one.standard_error))


def refuted(prediction: Prediction, by: Witness) -> Prediction:
    """Return the prediction, refused if it is contradicted."""
    if not by.contradicts:
        return prediction
    reason = (
        f"products with the whole matrix contradict it: the mean of λ/(λ + {by.scale:.3g}) is "
        f"{by.found:.1%} ± {by.standard_error:.1%}, not {by.predicted:.1%}"
    )
    return replace(
        prediction,
        verdict=REFUSED,
        reason=reason,
        law=None,
        replicas=(),
        rough=None,
        extremes=(),
        pooled=False,
    )
