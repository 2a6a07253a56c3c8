"""Extrapolate a log-determinant, or say why not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scipy import stats

from rmtaudit.kernels.flodance.backtest import back_test
from rmtaudit.kernels.flodance.checks import LEVEL, RoundingFloor, rounding_floor
from rmtaudit.kernels.flodance.evidence import BackTest, Candidate
from rmtaudit.kernels.flodance.mixture import Mixture
from rmtaudit.kernels.flodance.order import OrderTest
from rmtaudit.kernels.flodance.series import MinorSeries
from rmtaudit.kernels.flodance.status import Flag, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

MOST_CHANGED = 0.9  # Of the likelihood, on candidates whose law changed.
MOST_SIZES = 4096  # More are pooled: the scales they hold matter, not their number.
FEW_DOF = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Extrapolation:
    """A log-determinant with its interval, or the reason why there is none, and the evidence.

    Attributes
    ----------
    status
        What became of it. ``logdet``, ``low`` and ``high`` are ``None`` unless it is ``KNOWN`` or
        ``PREDICTED``.
    size, outputs
        The size asked, in points, and the rows of a point: the matrix has ``size·outputs`` rows.
    last_size, last_logdet
        The last exact value, where the extrapolation starts.
    logdet
        Median of the predictive distribution, in nats.
    low, high
        Ends of the interval, in nats, with equal probabilities outside.
    confidence
        Coverage that the interval aims at.
    noise
        Half-width that would remain if the law were known exactly: noise of the points to come, in nats.
    flags
        What could not be checked and what weakens the interval.
    back_test
        Candidates, weights and rows; ``None`` where it did not come to that.
    floor
        The test of the rounding floor; ``None`` where it could not be made.
    order
        The test of the order of the points; ``None`` where it was not made.
    """

    status: Status
    size: int
    outputs: int
    last_size: int
    last_logdet: float
    confidence: float
    logdet: float | None = None
    low: float | None = None
    high: float | None = None
    noise: float | None = None
    flags: tuple[Flag, ...] = ()
    back_test: BackTest | None = None
    floor: RoundingFloor | None = None
    order: OrderTest | None = None

    @property
    def dimension(self) -> int:
        """Rows of the matrix asked."""
        return self.size * self.outputs

    @property
    def per_dimension(self) -> float | None:
        """``ℓ_N/dimension``, in nats: changes by a constant if the matrix is multiplied by one."""
        return None if self.logdet is None else self.logdet / self.dimension

    @property
    def half_width_per_dimension(self) -> float | None:
        """Half of the interval over the dimension, in nats: does not change if the matrix is rescaled."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2 / self.dimension

    @property
    def half_width_percent(self) -> float | None:
        """Half of the interval in per cent of ``|logdet|``: changes with a rescaling of the matrix."""
        if self.logdet is None or self.low is None or self.high is None or self.logdet == 0:
            return None
        return 100 * (self.high - self.low) / 2 / abs(self.logdet)

    @property
    def chosen(self) -> Candidate | None:
        """The candidate with the greatest weight."""
        if self.back_test is None or not self.back_test.candidates:
            return None
        return max(self.back_test.candidates, key=lambda candidate: candidate.weight)


def extrapolate(
    series: MinorSeries,
    size: int,
    *,
    confidence: float = 0.95,
    tolerance: float | None = None,
    averaged: Callable[[int], torch.Tensor] | None = None,
    order: OrderTest | None = None,
) -> Extrapolation:
    r"""Predict ``log det K_size`` from smaller leading minors.

    The increments ``ℓ_n - ℓ_{n-1}`` are regressed on ``1``, ``log n`` and the increments of ``n^{-i} log n!``
    after a burn-in, and summed from the last exact value. Burn-in and order are never given: every
    combination forecasts, from earlier sizes, what is already known, and is weighted by the density that it
    gave to what came. The interval holds the noise to come (with its long-run variance), the uncertainty of
    the coefficients (Student's t), and the disagreement of the candidates that the back-test cannot tell
    apart; it is widened if the back-test's deviates are too large, and withheld if they are far too large.

    It presumes that the points come in random order and that the law seen so far goes on. A change of law
    beyond the sizes that are known leaves no trace in them.

    Parameters
    ----------
    series
        Every leading minor, or a few sizes.
    size
        Points of the matrix asked.
    confidence
        Coverage of the interval.
    tolerance
        Greatest half-width allowed, in nats per dimension; wider is refused. ``None``: any.
    averaged
        ``averaged(n)``: log-determinants of the points ``1..n``, averaged over orderings of the first ``n``
        (:func:`~rmtaudit.kernels.flodance.orderings.ordering_average`). Every candidate is then tried with
        and without, and the back-test weighs both; the evidence is in the candidates. For a series of every
        minor.
    order
        The test of the order of the points (:func:`~rmtaudit.kernels.flodance.order.order_test`), which needs
        the matrix; ``None`` leaves the order untested, which is flagged.

    Returns
    -------
    Extrapolation
        Never raises for a series that cannot be extrapolated: its status says why.

    Raises
    ------
    ValueError
        If ``size``, ``confidence`` or ``tolerance`` make no sense, the series is empty, the size is below the
        last that is known and not among those that are, or ``averaged`` is given for a series with gaps or
        with more than 4096 sizes.

    References
    ----------
    Ameli et al., *Determinant Estimation under Memory Constraints and Neural Scaling Laws*, ICML 2025,
    arXiv:2503.04424, for the law of the increments; weights by predictive density as in Dawid, J. R. Stat.
    Soc. A 147 (1984) 278.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import flodance
    >>> sizes = torch.arange(1, 401, dtype=torch.float64)
    >>> noise = 0.05 * torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> minors = (1 - 0.2 * sizes.log() + noise).cumsum(0)
    >>> prediction = flodance.extrapolate(flodance.MinorSeries.from_minors(minors), 800)
    >>> prediction.low < prediction.logdet < prediction.high
    True
    """
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence must lie between 0 and 1, not {confidence}")
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"a tolerance must be positive, not {tolerance}")
    if not len(series.sizes):
        raise ValueError("no leading minor is known")
    if size <= series.last_size:
        return _known(series, size, confidence)
    floor = rounding_floor(series)
    if floor is not None and floor.reached:
        return _answer(Status.ROUNDING_FLOOR, series, size, confidence, floor=floor, order=order)
    if order is not None and order.rejected:
        return _answer(Status.ORDER, series, size, confidence, floor=floor, order=order)
    pooled = series if len(series.sizes) <= MOST_SIZES else series.thinned()
    sizes, logdets = pooled.sizes.double().numpy(), pooled.logdets.numpy()
    if averaged is not None and (len(series.sizes) != series.last_size or series.last_size > MOST_SIZES):
        raise ValueError(f"averaging over orderings needs every minor, and at most {MOST_SIZES} points")
    curve = None if averaged is None else lambda n: averaged(n).cpu().double().numpy()
    tests = back_test(sizes, logdets, size, confidence, curve)
    if not tests.candidates:
        return _answer(
            Status.TOO_FEW_SIZES, series, size, confidence, floor=floor, back_test=tests, order=order
        )
    best = max(tests.candidates, key=lambda candidate: candidate.weight)
    flags = tuple(_flags(tests, best, size / series.last_size, floor, order))
    mixture = Mixture.of((candidate.weight, candidate.forecast) for candidate in tests.candidates)
    middle = mixture.median
    low, high = (middle + tests.inflation * (end - middle) for end in mixture.interval(confidence))
    noise = _noise(tests, size, series.last_size, confidence)
    status = Status.PREDICTED
    if tests.changed > MOST_CHANGED:
        status = Status.REGIME_CHANGE
    elif tests.inflation > worst_inflation(len(tests.judged)):
        status = Status.BACK_TEST_FAILED
    elif tolerance is not None and (high - low) / 2 > tolerance * size * series.outputs:
        status = Status.TOO_WIDE
    said = status is Status.PREDICTED
    return _answer(
        status,
        series,
        size,
        confidence,
        logdet=middle if said else None,
        low=low if said else None,
        high=high if said else None,
        noise=noise if said else None,
        flags=flags,
        back_test=tests,
        floor=floor,
        order=order,
    )


def worst_inflation(judged: int) -> float:
    """Return the root mean square of ``judged`` standard normal deviates that 1 % exceed."""
    return math.sqrt(float(stats.chi2.isf(LEVEL, judged)) / judged) if judged else math.inf


def _known(series: MinorSeries, size: int, confidence: float) -> Extrapolation:
    place = (series.sizes == size).nonzero()
    if not len(place):
        raise ValueError(
            f"{size} is below the last known size, {series.last_size}, and not among those known"
        )
    value = float(series.logdets[int(place[0, 0])])
    floor = rounding_floor(series)
    return Extrapolation(
        status=Status.KNOWN,
        size=size,
        outputs=series.outputs,
        last_size=size,
        last_logdet=value,
        confidence=confidence,
        logdet=value,
        low=value,
        high=value,
        noise=0.0,
        flags=() if floor is not None else (Flag.FLOOR_UNCHECKED,),
        floor=floor,
    )


def _answer(status: Status, series: MinorSeries, size: int, confidence: float, **rest: Any) -> Extrapolation:
    return Extrapolation(
        status=status,
        size=size,
        outputs=series.outputs,
        last_size=series.last_size,
        last_logdet=float(series.logdets[-1]),
        confidence=confidence,
        **rest,
    )


def _flags(
    tests: BackTest, best: Candidate, factor: float, floor: RoundingFloor | None, order: OrderTest | None
) -> Iterator[Flag]:
    if floor is None:
        yield Flag.FLOOR_UNCHECKED
    if order is None:
        yield Flag.ORDER_UNCHECKED
    if not tests.judged:
        yield Flag.BACK_TEST_EMPTY
    elif tests.factor < 0.9 * factor:
        yield Flag.FACTOR_UNTESTED
    if best.regime is None:
        yield Flag.REGIME_UNCHECKED
    if best.forecast.dof < FEW_DOF:
        yield Flag.FEW_DEGREES


def _noise(tests: BackTest, size: int, last: int, confidence: float) -> float:
    """Return the half-width of the noise to come alone, with the weighted ``ω²``."""
    variance = sum(c.weight * c.omega**2 for c in tests.candidates) * (size - last)
    return float(stats.norm.isf((1 - confidence) / 2)) * math.sqrt(variance)
