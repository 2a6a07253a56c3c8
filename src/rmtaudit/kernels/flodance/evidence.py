"""What a back-test leaves behind: candidates, their weights, and what they said of values that came."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmtaudit.kernels.flodance.checks import RegimeTest
    from rmtaudit.kernels.flodance.regression import Forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to extrapolate, with what it says and how much the back-test trusts it.

    Attributes
    ----------
    burn_in
        Share of the largest known size that is left out at the start.
    first_size
        The size at which the regression starts, from the largest origin.
    order
        Number of corrections ``n^-i log n!``.
    averaged
        Whether its coefficients come from increments averaged over orderings of the points.
    exponent
        ``ν`` per point: minus the coefficient of ``log n!``.
    score
        Mean log-density of its back-test forecasts, in nats; ``None`` if it could not be tested.
    tested
        Origins at which it could make a forecast with an interval.
    regime
        Test for a change of law in its window; ``None`` with too few increments for it.
    likelihood
        Share that the scores alone would give it; 0 if it could not be tested and others could.
    weight
        Share in the combined forecast; 0 if its law changed.
    """

    burn_in: float
    first_size: int
    order: int
    averaged: bool
    exponent: float
    omega: float
    forecast: Forecast
    score: float | None
    tested: int
    regime: RegimeTest | None
    likelihood: float
    weight: float

    @property
    def changed(self) -> bool:
        """Whether its residuals show a change of law, at the level of 1 %."""
        return self.regime is not None and self.regime.changed


@dataclass(frozen=True, slots=True, kw_only=True)
class BackTestRow:
    """One origin: what the weighted candidates forecast from it, and what came. Log-determinants in nats.

    ``low`` and ``high`` are the ends of the interval at the confidence asked; ``z`` is the normal deviate of
    the value in the forecast distribution. ``None``, where no candidate had a degree of freedom left: then
    ``mean`` is that of the plain power law through the last increments.
    """

    origin: int
    target: int
    known: float
    mean: float
    low: float | None
    high: float | None
    z: float | None


@dataclass(frozen=True, slots=True)
class BackTest:
    """The candidates and the rows of the combined forecast.

    ``depth`` is the number of back-tests that do not overlap, by which scores are multiplied: the logarithm
    of the range of origins over that of the factor asked, between 1 and 2. ``factor`` is the largest
    ``target/origin`` that was tested.
    """

    candidates: tuple[Candidate, ...]
    rows: tuple[BackTestRow, ...]
    depth: float
    factor: float

    @property
    def judged(self) -> tuple[BackTestRow, ...]:
        """The rows that had an interval."""
        return tuple(row for row in self.rows if row.z is not None)

    @property
    def missed(self) -> int:
        """How many of the judged rows lie outside their interval."""
        return sum(
            row.low is not None and row.high is not None and not row.low <= row.known <= row.high
            for row in self.rows
        )

    @property
    def changed(self) -> float:
        """Likelihood of the candidates whose residuals show a change of law, of 1 in all."""
        return sum(candidate.likelihood for candidate in self.candidates if candidate.changed)

    @property
    def inflation(self) -> float:
        """Root mean square of ``z`` where that is above 1: what the scale must be multiplied by."""
        deviates = [row.z for row in self.rows if row.z is not None]
        return max(1.0, math.sqrt(sum(z * z for z in deviates) / len(deviates))) if deviates else 1.0
