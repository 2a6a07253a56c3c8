"""Rolling-origin back-test: which burn-in and order would have forecast what is already known.

From every origin, each candidate forecasts as many times further as is asked of it now (or the last known
size), and its density at the value that came is its score. A candidate whose own residuals show a change of
law is left out. NumPy on the CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from rmtaudit.kernels.flodance.checks import RegimeTest, regime_change
from rmtaudit.kernels.flodance.mixture import Mixture
from rmtaudit.kernels.flodance.regression import Forecast, Regression, basis, fit_increments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

FRACTIONS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 3, 1 / 2)
ORDERS = (0, 1, 2)
ORIGINS = 10
SHORTEST_ORIGIN = 40  # Increments: half of them still leave 16 degrees of freedom at order 2.
LAST_ORIGIN = 1.2  # The last origin is the last size over this.
DEPTH = 2.0
LEVEL = 0.01  # Of the test for a change of law.
NEGLIGIBLE = 0.01  # A lower weight is not worth a test, and is not used.


@dataclass(frozen=True, slots=True)
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
    exponent
        ``ν`` per point: minus the coefficient of ``log n!``.
    score
        Mean log-density of its back-test forecasts, in nats; ``None`` if it could not be tested.
    tested
        Origins at which it could make a forecast with an interval.
    regime
        Test for a change of law in its window; ``None`` if its weight is negligible or there is too little
        for it.
    likelihood
        Share that the scores alone would give it; 0 if it could not be tested and others could.
    weight
        Share in the combined forecast: 0 if its law changed, or if its likelihood is below 1 %.
    """

    burn_in: float
    first_size: int
    order: int
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
        return _changed(self.regime)


@dataclass(frozen=True, slots=True)
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


def back_test(sizes: Vector, logdets: Vector, size: int, confidence: float) -> BackTest:
    """Try every burn-in and order at every origin and weigh them by what they would have been worth.

    Parameters
    ----------
    sizes, logdets
        What is known, growing.
    size
        The size asked; its ratio to the last known size is the factor that is tested.
    confidence
        Of the intervals in the rows.

    Returns
    -------
    BackTest
        Without candidates, if there are too few sizes for any.
    """
    settings = _settings(sizes)
    finals = [_fit(sizes, logdets, *setting) for setting in settings]
    usable = [(setting, fit) for setting, fit in zip(settings, finals, strict=True) if fit is not None]
    factor = size / sizes[-1]
    origins, targets, depth = _origins(sizes, factor)
    table: list[list[Forecast | None]] = []
    for (burn_in, order), _ in usable:
        fits = (_fit(sizes[: o + 1], logdets[: o + 1], burn_in, order) for o in origins)
        table.append([fit.forecast(sizes[t]) if fit else None for fit, t in zip(fits, targets, strict=True)])
    scores = [_score(row, logdets[targets]) for row in table]
    likelihoods = _likelihoods(
        scores, [sum(f is not None for f in row) for row in table], len(origins), depth
    )
    regimes = [
        _regime(sizes, logdets, *setting) if likelihood >= NEGLIGIBLE else None
        for (setting, _), likelihood in zip(usable, likelihoods, strict=True)
    ]
    weights = _weights(likelihoods, regimes)
    candidates = tuple(
        Candidate(
            burn_in=burn_in,
            first_size=int(sizes[_start(sizes, burn_in)]),
            order=order,
            exponent=-float(fit.coefficients[1]),
            omega=fit.omega,
            forecast=fit.forecast(size),
            score=score,
            tested=sum(f is not None for f in row),
            regime=regime,
            likelihood=likelihood,
            weight=weight,
        )
        for ((burn_in, order), fit), row, score, regime, likelihood, weight in zip(
            usable, table, scores, regimes, likelihoods, weights, strict=True
        )
    )
    rows = tuple(
        _row(sizes, logdets, origin, target, [line[k] for line in table], weights, confidence)
        for k, (origin, target) in enumerate(zip(origins, targets, strict=True))
    )
    reached = max((sizes[t] / sizes[o] for o, t in zip(origins, targets, strict=True)), default=1.0)
    return BackTest(candidates, rows, depth, float(reached))


def _start(sizes: Vector, burn_in: float) -> int:
    return int(np.searchsorted(sizes, burn_in * sizes[-1]))


def _fit(sizes: Vector, logdets: Vector, burn_in: float, order: int) -> Regression | None:
    start = _start(sizes, burn_in)
    return fit_increments(sizes[start:], logdets[start:], order)


def _settings(sizes: Vector) -> list[tuple[float, int]]:
    """Return the burn-ins and orders, each burn-in once that starts at the same size."""
    starts: dict[int, float] = {}
    for fraction in FRACTIONS:
        starts.setdefault(_start(sizes, fraction), fraction)
    return [(fraction, order) for fraction in starts.values() for order in ORDERS]


def _origins(sizes: Vector, factor: float) -> tuple[list[int], list[int], float]:
    """Return indices of origins and targets, and how many back-tests do not overlap."""
    last = sizes[-1]
    lowest = max(sizes[min(SHORTEST_ORIGIN, max(len(sizes) // 4, 2), len(sizes) - 1)], last / factor**DEPTH)
    highest = last / LAST_ORIGIN
    if len(sizes) < 4 or lowest >= last:
        return [], [], 1.0
    wanted = np.geomspace(lowest, max(highest, lowest), ORIGINS)
    places = np.unique(np.searchsorted(sizes, wanted * (1 - 1e-12)))
    origins = [int(place) for place in places if sizes[place] < last]
    targets = [
        max(o + 1, min(len(sizes) - 1, int(np.abs(sizes - factor * sizes[o]).argmin()))) for o in origins
    ]
    depth = math.log(last / sizes[origins[0]]) / math.log(factor) if origins else 1.0
    return origins, targets, min(max(depth, 1.0), DEPTH)


def _score(forecasts: Sequence[Forecast | None], known: Vector) -> float | None:
    densities = [
        float(stats.t.logpdf((value - f.mean) / f.scale, f.dof)) - math.log(f.scale)
        for f, value in zip(forecasts, known, strict=True)
        if f is not None and f.scale > 0
    ]
    return sum(densities) / len(densities) if densities else None


def _regime(sizes: Vector, logdets: Vector, burn_in: float, order: int) -> RegimeTest | None:
    start = _start(sizes, burn_in)
    return regime_change(sizes[start:], logdets[start:], order)


def _changed(regime: RegimeTest | None) -> bool:
    return regime is not None and regime.p_value < LEVEL


def _weights(likelihoods: Sequence[float], regimes: Sequence[RegimeTest | None]) -> list[float]:
    """Leave out what changed and what is negligible; where nothing is left, only what is negligible."""
    kept = [w if w >= NEGLIGIBLE else 0.0 for w in likelihoods]
    lawful = [0.0 if _changed(regime) else w for w, regime in zip(kept, regimes, strict=True)]
    chosen = lawful if any(lawful) else kept
    return [w / sum(chosen) for w in chosen] if chosen else []


def _likelihoods(
    scores: Sequence[float | None], tested: Sequence[int], origins: int, depth: float
) -> list[float]:
    """Return shares of the likelihood; a candidate tested at less than half of the origins is not compared."""
    eligible = [s for s, n in zip(scores, tested, strict=True) if s is not None and 2 * n >= origins]
    if not eligible:
        return [1 / len(scores) for _ in scores]
    best = max(eligible)
    raw = [
        math.exp(depth * (s - best)) if s is not None and 2 * n >= origins else 0.0
        for s, n in zip(scores, tested, strict=True)
    ]
    return [w / sum(raw) for w in raw]


def _row(
    sizes: Vector,
    logdets: Vector,
    origin: int,
    target: int,
    forecasts: Sequence[Forecast | None],
    weights: Sequence[float],
    confidence: float,
) -> BackTestRow:
    known = float(logdets[target])
    pairs = [(w, f) for w, f in zip(weights, forecasts, strict=True) if f is not None and w > 0]
    if not pairs:
        mean = _through_last(sizes[: origin + 1], logdets[: origin + 1], sizes[target])
        return BackTestRow(int(sizes[origin]), int(sizes[target]), known, mean, None, None, None)
    mixture = Mixture.of(pairs)
    low, high = mixture.interval(confidence)
    return BackTestRow(
        int(sizes[origin]), int(sizes[target]), known, mixture.median, low, high, mixture.deviate(known)
    )


def _through_last(sizes: Vector, logdets: Vector, size: float) -> float:
    """Forecast by the plain power law through the last two increments, which leaves no degree of freedom."""
    rows = np.diff(basis(sizes[-3:], 0), axis=0)
    coefficients = np.linalg.solve(rows, np.diff(logdets[-3:]))
    reach = np.diff(basis(np.array([sizes[-1], size]), 0), axis=0)[0]
    return float(logdets[-1] + reach @ coefficients)
