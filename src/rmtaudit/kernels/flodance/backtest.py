"""Rolling-origin back-test: which burn-in and order would have forecast what is already known.

From every origin, each candidate forecasts as many times further as is asked of it now (or the last known
size), and its density at the value that came is its score. A candidate whose own residuals show a change of
law is left out. NumPy on the CPU.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

from rmtaudit.kernels.flodance.checks import RegimeTest, regime_change
from rmtaudit.kernels.flodance.evidence import BackTest, BackTestRow, Candidate
from rmtaudit.kernels.flodance.mixture import Mixture
from rmtaudit.kernels.flodance.regression import Forecast, Regression, basis, fit_increments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Averaged = Callable[[int], Vector]

FRACTIONS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 3, 1 / 2)
ORDERS = (0, 1, 2)
ORIGINS = 10
SHORTEST_ORIGIN = 40  # Increments: half of them still leave 16 degrees of freedom at order 2.
LAST_ORIGIN = 1.2  # The last origin is the last size over this.
DEPTH = 2.0


def back_test(
    sizes: Vector, logdets: Vector, size: int, confidence: float, averaged: Averaged | None = None
) -> BackTest:
    """Try every burn-in and order at every origin and weigh them by what they would have been worth.

    Parameters
    ----------
    sizes, logdets
        What is known, growing.
    size
        The size asked; its ratio to the last known size is the factor that is tested.
    confidence
        Of the intervals in the rows.
    averaged
        ``averaged(n)``: log-determinants of the minors ``1..n``, averaged over orderings of the first ``n``
        points. Every candidate then comes twice, and the back-test weighs both. For every minor known only.

    Returns
    -------
    BackTest
        Without candidates, if there are too few sizes for any.
    """
    factor = size / sizes[-1]
    origins, targets, depth = _origins(sizes, factor)
    ends = [*origins, len(sizes) - 1]
    curves = {end: averaged(int(sizes[end])) for end in ends} if averaged else {}
    settings: list[_Setting] = []
    finals: list[Regression] = []
    table: list[list[Forecast | None]] = []
    for setting in _settings(sizes, averaged is not None):
        fits = [_fit(sizes[: end + 1], logdets[: end + 1], setting, curves.get(end)) for end in ends]
        if (final := fits[-1]) is None:
            continue
        settings.append(setting)
        finals.append(final)
        table.append(
            [fit.forecast(sizes[t]) if fit else None for fit, t in zip(fits[:-1], targets, strict=True)]
        )
    tested = [sum(f is not None for f in row) for row in table]
    scores = [_score(row, logdets[targets]) for row in table]
    likelihoods = _likelihoods(scores, tested, len(origins), depth)
    regimes = [_regime(sizes, logdets, setting) for setting in settings]
    weights = _weights(likelihoods, regimes)
    candidates = tuple(
        Candidate(
            burn_in=setting.burn_in,
            first_size=int(sizes[_start(sizes, setting.burn_in)]),
            order=setting.order,
            averaged=setting.averaged,
            exponent=-float(fit.coefficients[1]),
            omega=fit.omega,
            forecast=fit.forecast(size),
            score=scores[k],
            tested=tested[k],
            regime=regimes[k],
            likelihood=likelihoods[k],
            weight=weights[k],
        )
        for k, (setting, fit) in enumerate(zip(settings, finals, strict=True))
    )
    rows = tuple(
        _row(
            sizes,
            logdets,
            origin,
            target=target,
            forecasts=[line[k] for line in table],
            weights=weights,
            confidence=confidence,
        )
        for k, (origin, target) in enumerate(zip(origins, targets, strict=True))
    )
    reached = max((sizes[t] / sizes[o] for o, t in zip(origins, targets, strict=True)), default=1.0)
    return BackTest(candidates, rows, depth, float(reached))


class _Setting(NamedTuple):
    burn_in: float
    order: int
    averaged: bool


def _start(sizes: Vector, burn_in: float) -> int:
    return int(np.searchsorted(sizes, burn_in * sizes[-1]))


def _fit(sizes: Vector, logdets: Vector, setting: _Setting, curve: Vector | None) -> Regression | None:
    start = _start(sizes, setting.burn_in)
    fit = fit_increments(sizes[start:], logdets[start:], setting.order)
    if fit is None or not setting.averaged or curve is None:
        return fit
    smooth = fit_increments(sizes[start:], curve[start:], setting.order)
    # The points are the same in every ordering, so the noise is not taken to be less than in the one given.
    return None if smooth is None else replace(fit, coefficients=smooth.coefficients)


def _settings(sizes: Vector, averaged: bool) -> list[_Setting]:
    """Return the burn-ins and orders, each burn-in once that starts at the same size."""
    starts: dict[int, float] = {}
    for fraction in FRACTIONS:
        starts.setdefault(_start(sizes, fraction), fraction)
    return [
        _Setting(fraction, order, way)
        for way in ((False, True) if averaged else (False,))
        for fraction in starts.values()
        for order in ORDERS
    ]


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


def _regime(sizes: Vector, logdets: Vector, setting: _Setting) -> RegimeTest | None:
    start = _start(sizes, setting.burn_in)
    return regime_change(sizes[start:], logdets[start:], setting.order)


def _weights(likelihoods: Sequence[float], regimes: Sequence[RegimeTest | None]) -> list[float]:
    """Leave out what changed; where nothing is left, all is kept, for a forecast that will be refused."""
    lawful = [
        0.0 if regime is not None and regime.changed else w
        for w, regime in zip(likelihoods, regimes, strict=True)
    ]
    chosen = lawful if any(lawful) else likelihoods
    return [w / sum(chosen) for w in chosen]


def _likelihoods(
    scores: Sequence[float | None], tested: Sequence[int], origins: int, depth: float
) -> list[float]:
    """Return shares of the likelihood; a candidate tested at less than half of the origins has none."""
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
        return BackTestRow(
            origin=int(sizes[origin]),
            target=int(sizes[target]),
            known=known,
            mean=mean,
            low=None,
            high=None,
            z=None,
        )
    mixture = Mixture.of(pairs)
    low, high = mixture.interval(confidence)
    return BackTestRow(
        origin=int(sizes[origin]),
        target=int(sizes[target]),
        known=known,
        mean=mixture.median,
        low=low,
        high=high,
        z=mixture.deviate(known),
    )


def _through_last(sizes: Vector, logdets: Vector, size: float) -> float:
    """Forecast by the plain power law through the last two increments, which leaves no degree of freedom."""
    rows = np.diff(basis(sizes[-3:], 0), axis=0)
    coefficients = np.linalg.solve(rows, np.diff(logdets[-3:]))
    reach = np.diff(basis(np.array([sizes[-1], size]), 0), axis=0)[0]
    return float(logdets[-1] + reach @ coefficients)
