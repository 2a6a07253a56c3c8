"""Numbers of a law (moments, edges, log-determinant …), and their intervals from replicas of the law."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from rmtaudit.kernels.free.decompression import beyond_noise

FUNCTIONALS = (
    "mean",
    "standard_deviation",
    "skewness",
    "lower_edge",
    "upper_edge",
    "atom",
    "effective_rank",
    "log_det",
    "condition",
)
"""Names of :func:`functionals`: eigenvalue units for the first two and the edges, else dimensionless."""

CONFIDENCE = 0.9
"""A convention: of every interval."""
_NORMAL = 1.6449  # 95 %
_POINTS = 4000
"""A convention: quantiles that stand for a law."""
_LOGARITHMIC = frozenset({"condition"})


class Law(Protocol):
    """A law on the real line with atoms, as both routes make one."""

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        """Places and masses."""

    @property
    def edges(self) -> tuple[tuple[float, float], ...]:
        """Ends of the intervals of the continuous part."""

    @property
    def mass(self) -> float:
        """Mass by quadrature."""

    def pdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the density."""

    def cdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mass at or below."""

    def ppf(self, q: torch.Tensor) -> torch.Tensor:
        """Return quantiles."""

    def quantiles(self, count: int) -> torch.Tensor:
        """Return eigenvalues."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its interval of 90 %, or the reason why there is none.

    ``low`` and ``high`` are ``None`` where there are no replicas to tell.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def functionals(law: Law, *, order: float, positive: bool) -> Mapping[str, float | str]:
    """Return the number of every name in :data:`FUNCTIONALS`, or in a clause why it does not exist.

    ``effective_rank`` is the exponential of the entropy of the eigenvalues' shares of their sum, over the
    size; ``log_det`` the mean logarithm in nats; ``condition`` the ratio of the edges, which are those of
    :func:`ends`; ``atom`` the mass of the atoms.

    Parameters
    ----------
    law
        Of the eigenvalues.
    order
        Of the matrix.
    positive
        Whether it is that of a positive semidefinite matrix; if not, the last three do not exist.
    """
    values = law.quantiles(_POINTS)
    mean = float(values.mean())
    centred = values - mean
    spread = float((centred**2).mean().sqrt())
    low, high = ends(law, order)
    numbers: dict[str, float | str] = {
        "mean": mean,
        "standard_deviation": spread,
        "skewness": float((centred**3).mean()) / spread**3 if spread > 0 else "the law is a point",
        "lower_edge": low,
        "upper_edge": high,
        "atom": math.fsum(mass for _, mass in law.atoms),
    }
    if positive and low <= 1e-12 * high:
        numbers["lower_edge"] = low = 0.0
    if not positive or mean <= 0:
        why = "the predicted spectrum is not that of a positive matrix"
        return numbers | dict.fromkeys(("effective_rank", "log_det", "condition"), why)
    shares = (values.clamp(min=0) / values.clamp(min=0).sum()).double()
    numbers["effective_rank"] = math.exp(float(torch.special.entr(shares).sum())) / _POINTS
    zero = sum(mass for place, mass in law.atoms if abs(place) <= 1e-9 * float(values[-1]))
    if zero > 0:
        why = f"{zero:.2%} of the predicted eigenvalues are 0"
        return numbers | {"log_det": why, "condition": why}
    if low <= 0:
        numbers["condition"] = "the predicted spectrum reaches down to 0"
    else:
        numbers["condition"] = high / low
    exact = getattr(law, "log_det", None)
    numbers["log_det"] = float(exact()) if exact else float(values.clamp(min=1e-300).log().mean())
    return numbers


def ends(law: Law, order: float, rank: float = 0.5) -> tuple[float, float]:
    """Return where the smallest and the largest eigenvalue of a matrix of this order are, beside atoms.

    The quantiles at half an eigenvalue from the ends of the continuous part: a law may reach further, with a
    mass that no matrix of this order shows.

    Parameters
    ----------
    law
        Of the eigenvalues.
    order
        Of the matrix.
    rank
        1.5 for the second eigenvalues, and so on.
    """
    first, last = (law.edges[0][0], law.edges[-1][1]) if law.edges else (-math.inf, math.inf)
    below = math.fsum(mass for place, mass in law.atoms if place <= first)
    above = math.fsum(mass for place, mass in law.atoms if place >= last)
    share = min(rank / order, 0.5 * (1 - below - above))
    levels = torch.tensor([below + share, 1 - above - share], dtype=torch.float64)
    low, high = law.ppf(levels).tolist()
    return low, high


def interval(
    name: str,
    centre: float | str,
    drawn: Sequence[float | str],
    *,
    pooled: bool,
    floor: float | None = None,
    alternatives: Sequence[float | str] = (),
    error: float = 0.0,
    also: Sequence[float | str] = (),
    second: Sequence[float | str] = (),
) -> Interval:
    """Return the interval of 90 % of a number from its replicas.

    Parameters
    ----------
    name
        The functional's; a condition number has its interval in the logarithm.
    centre
        Its value, or why there is none.
    drawn
        Those of the replicas.
    pooled
        Whether replicas are samples whose mean is the value; else they are redrawn data, whose spread is
        that of the value.
    floor
        What the number cannot be below.
    alternatives
        The number of a rougher fit, and of a few atoms: the largest distance is what smoothing does, and part
        of the interval. So is that of the mean of redrawn data, their bias.
    error
        A standard deviation that the replicas do not have.
    also
        The number of other laws that fit as well: the interval reaches them.
    second
        The number of a second kind of law, and then of its fits to the replicas: by what it differs beyond
        chance is part of the interval on its side, as an alternative is on both.
    """
    if isinstance(centre, str) or not math.isfinite(centre):
        return Interval(None, reason=centre if isinstance(centre, str) else "not finite")
    numbers = [one for one in drawn if isinstance(one, float) and math.isfinite(one)]
    reached = [one for one in also if isinstance(one, float) and math.isfinite(one)]
    if len(drawn) < 2:
        return Interval(centre) if len(reached) < 2 else _reaching(name, centre, reached, error, floor)
    if len(numbers) < len(drawn):
        return Interval(
            centre, reason=(f"{len(drawn) - len(numbers)} of {len(drawn)} replicas have no value")
        )
    logarithmic = name in _LOGARITHMIC and centre > 0 and min(numbers) > 0
    if logarithmic:
        centre, numbers = math.log(centre), [math.log(one) for one in numbers]
        alternatives = [math.log(one) for one in alternatives if isinstance(one, float) and one > 0]
        second = [math.log(one) if isinstance(one, float) and one > 0 else "no logarithm" for one in second]
    spread = torch.tensor(numbers, dtype=torch.float64)
    half = student(len(numbers)) * float(spread.std())
    middle = float(spread.mean())
    others = [one for one in alternatives if isinstance(one, float) and math.isfinite(one)]
    away = max(abs(one - centre) for one in [*others, centre if pooled else middle])
    beyond = _beyond(second, centre, spread)
    half = half / math.sqrt(len(numbers)) if pooled else half
    below, above = (
        math.hypot(half, _NORMAL * max(away, side), _NORMAL * error) for side in (-beyond, beyond)
    )
    centre = middle if pooled else centre
    bounds = [centre - below, centre, centre + above]
    if logarithmic:
        bounds = [math.exp(min(bound, 700.0)) for bound in bounds]
    if floor is not None:
        bounds = [max(bound, floor) for bound in bounds]
    return Interval(bounds[1], min([bounds[0], *reached]), max([bounds[2], *reached]))


def _reaching(
    name: str, centre: float, reached: Sequence[float], error: float, floor: float | None
) -> Interval:
    """Return the interval between the extreme laws, widened by a standard deviation that they do not have."""
    low, high = min(centre, *reached), max(centre, *reached)
    if name in _LOGARITHMIC and low > 0:
        low, high = low * math.exp(-_NORMAL * error), high * math.exp(_NORMAL * error)
    else:
        low, high = low - _NORMAL * error, high + _NORMAL * error
    return Interval(centre, low if floor is None else max(low, floor), high)


def _beyond(second: Sequence[float | str], centre: float, drawn: torch.Tensor) -> float:
    """Return by how much a second estimate is above the first, or below, beyond its distance on replicas."""
    numbers = [one for one in second if isinstance(one, float) and math.isfinite(one)]
    if not numbers or len(numbers) < len(second):
        return 0.0
    estimates = torch.tensor(numbers, dtype=torch.float64)
    return float(beyond_noise(estimates[0] - centre, estimates[1:] - drawn))


def student(count: int) -> float:
    """Return the 95 % point of Student's t for the spread of ``count`` numbers."""
    from scipy.special import stdtrit

    return float(stdtrit(count - 1, (1 + CONFIDENCE) / 2))
