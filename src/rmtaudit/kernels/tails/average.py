"""How well the exponent of a tail is known where nobody says where the power law begins.

The start that fits best may lie in the body of the sample, and the exponent is then off by more than its
error. A bootstrap of the fitted law cannot see that. Here the replicas come from several laws, in proportion
to their likelihood: the fitted one, and laws whose exponent changes inside the fitted tail, with the exponent
above the change as the truth. Each replica is fitted as the sample was, start included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from rmtaudit.kernels.powerlaw.bootstrap import random_integers
from rmtaudit.kernels.powerlaw.fit import NoFit, PowerLawFit
from rmtaudit.kernels.tails.discrete import exponents, log_scaled_zeta
from rmtaudit.kernels.tails.support import Support, draw_tail, fit_start

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

_SHARES = (0.15, 0.25, 0.35, 0.5, 0.65, 0.8)
"""Shares of the tail above the change of exponent."""
_LEAST = 8  # values on either side of a change
_PENALTY = 1.25
"""Nats that a change of exponent must gain to be drawn as often as none.

Intervals are weighted as without a penalty and p-values as with twice as much. Both, and ``_STABLE``, were
chosen on four laws of 300 values (a power law alone, and tails above a uniform, a lognormal and an
exponential body), and judged on others (``benchmarks/tails.py --part coverage``)."""
_STABLE = 0.25
"""Power of the tail size that makes errors of ``log(alpha - 1)`` alike: 1/2 for a known start."""
_LARGEST_SPAN = 1e5  # whole numbers below a change of exponent that are summed one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class AlphaSpread:
    """What the replicas say of the exponent and of the fit.

    Attributes
    ----------
    alpha_se, alpha_ci
        Standard deviation and interval of ``alpha``.
    p_value
        Goodness of fit: share, with the values themselves counted, of the replicas whose distance times the
        root of their tail size is as large. Small: no part of the tail is a power law.
    changed
        Weight of the laws whose exponent changes inside the tail: near 1 where the start is doubtful.
    unfitted
        Replicas without a tail.
    """

    alpha_se: float
    alpha_ci: tuple[float, float]
    p_value: float
    changed: float
    unfitted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    """A law of the tail: ``below`` up to the change at ``at``, ``above`` from there on.

    ``below`` holds, for whole numbers, the values and their cumulative shares; else the rate ``alpha - 1``.
    """

    log_weight: float
    alpha: float
    at: float
    share: float
    below: tuple[Vector, Vector] | float | None


def spread_of_alpha(
    x: Vector,
    fit: PowerLawFit,
    support: Support,
    *,
    replicas: int,
    generator: torch.Generator,
    confidence: float,
) -> AlphaSpread | NoFit:
    """Return interval and goodness of fit of the power law of ``x``, ascending, that ``fit`` was fitted to.

    Parameters
    ----------
    replicas
        At least 2, each fitted anew.
    generator
        Source of the randomness, on the CPU.

    Returns
    -------
    AlphaSpread or NoFit
        ``NoFit`` where fewer than two replicas have a tail.

    References
    ----------
    Clauset, Shalizi, Newman, SIAM Review 51 (2009), section 4.1 (the semiparametric bootstrap); Buckland,
    Burnham, Augustin, *Model selection: an integral part of inference*, Biometrics 53 (1997).
    """
    start = x.size - fit.tail_size
    worlds = _worlds(x[start:], fit, support)
    logs = np.array([world.log_weight for world in worlds])
    weights = np.exp(logs - logs.max())
    chosen = torch.multinomial(
        torch.from_numpy(weights), replicas, replacement=True, generator=generator
    ).tolist()
    rows = []
    for index in chosen:
        values = np.sort(
            _replica(x, start, fit=fit, world=worlds[index], support=support, generator=generator)
        )
        refit = fit_start(values, support, excluded=0, min_tail=fit.min_tail, margin=None)
        if isinstance(refit, PowerLawFit):
            error = math.log((refit.alpha - 1) / (worlds[index].alpha - 1))
            rows.append((error, refit.tail_size, refit.ks_distance, index > 0))
    if len(rows) < 2:
        return NoFit("fewer than two replicas have a tail with two different values", x.size, fit.excluded)
    error, size, distance, changed = np.array(rows, dtype=np.float64).T
    for_interval = np.exp(_PENALTY * changed)
    for_p_value = np.exp(-_PENALTY * changed)
    scaled = error * (size / fit.tail_size) ** _STABLE
    low, high = _quantiles(scaled, for_interval, (1 - confidence) / 2)
    rate = fit.alpha - 1
    mean = np.average(scaled, weights=for_interval)
    deviation = math.sqrt(float(np.average((scaled - mean) ** 2, weights=for_interval)))
    as_far = distance * np.sqrt(size) >= fit.ks_distance * math.sqrt(fit.tail_size) * (1 - 1e-12)
    return AlphaSpread(
        alpha_se=rate * deviation,
        alpha_ci=(1 + rate * math.exp(-high), 1 + rate * math.exp(-low)),
        p_value=(1 + len(rows) * float(np.average(as_far, weights=for_p_value))) / (1 + len(rows)),
        changed=float(np.average(changed, weights=for_interval)),
        unfitted=replicas - len(rows),
    )


def _quantiles(values: Vector, weights: Vector, tail: float) -> tuple[float, float]:
    """Return weighted quantiles that leave ``tail`` on either side, with the sample counted as one more."""
    order = np.argsort(values)
    shares = np.cumsum(weights[order]) / weights.sum() * values.size / (values.size + 1)
    low, high = np.interp([tail, 1 - tail], shares, values[order])
    return float(low), float(high)


def _worlds(tail: Vector, fit: PowerLawFit, support: Support) -> list[_World]:
    """Return the law of one exponent first, then those with a change."""
    worlds = [_World(log_weight=0.0, alpha=fit.alpha, at=fit.xmin, share=1.0, below=None)]
    positions = {round((1 - share) * tail.size) for share in _SHARES}
    candidates = [_changed(tail, position, fit, support) for position in sorted(positions)]
    changed = [world for world in candidates if world is not None]
    prior = _PENALTY + math.log(max(len(changed), 1))
    for world in changed:
        gain = world.log_weight - prior
        worlds.append(
            _World(log_weight=gain, alpha=world.alpha, at=world.at, share=world.share, below=world.below)
        )
    return worlds


def _changed(tail: Vector, position: int, fit: PowerLawFit, support: Support) -> _World | None:
    at = float(tail[min(position, tail.size - 1)])
    # equal values are on one side
    below, above = tail[tail < at], tail[tail >= at]
    if min(below.size, above.size) < _LEAST or not above[-1] > at or not below[-1] > below[0]:
        return None
    share = above.size / tail.size
    if support == "discrete":
        return _changed_discrete(below, above, at, share, fit)
    logs = np.log(tail / fit.xmin)
    turn = math.log(at / fit.xmin)
    upper = above.size / float((logs[below.size :] - turn).sum())
    lower = below.size / float(logs[: below.size].sum() + above.size * turn)
    gain = below.size * math.log(lower) + above.size * math.log(upper) - tail.size * math.log(fit.alpha - 1)
    return _World(log_weight=gain, alpha=1 + upper, at=at, share=share, below=lower)


def _changed_discrete(
    below: Vector, above: Vector, at: float, share: float, fit: PowerLawFit
) -> _World | None:
    if at - fit.xmin > _LARGEST_SPAN:
        return None
    alpha, _ = exponents(np.array([np.log(above / at).mean()]), np.array([at]))
    steps = np.arange(fit.xmin, at)
    logs = np.log(steps / fit.xmin)
    mean = float(np.log(below / fit.xmin).mean())
    slope = 0.0
    for _ in range(50):  # Newton's method on a concave likelihood
        shares = np.exp(-slope * logs - (-slope * logs).max())
        shares /= shares.sum()
        moment = float(shares @ logs)
        variance = float(shares @ (logs - moment) ** 2)
        change = (moment - mean) / variance
        slope += float(np.clip(change, -3, 3))
        if abs(change) < 1e-8:
            break
    mass = -slope * logs
    normal = float(mass.max() + np.log(np.exp(mass - mass.max()).sum()))
    single, upper = (
        _log_likelihood(values, a, start)
        for values, a, start in (
            (np.concatenate((below, above)), fit.alpha, fit.xmin),
            (above, float(alpha[0]), at),
        )
    )
    lower = below.size * (-slope * mean - normal)
    split = below.size * math.log(1 - share) + above.size * math.log(share)
    return _World(
        log_weight=lower + split + upper - single,
        alpha=float(alpha[0]),
        at=at,
        share=share,
        below=(steps, np.cumsum(shares)),
    )


def _log_likelihood(values: Vector, alpha: float, start: float) -> float:
    normal = float(log_scaled_zeta(np.array([alpha]), np.array([start]))[0])
    return -alpha * float(np.log(values / start).sum()) - values.size * normal


def _replica(
    x: Vector, start: int, fit: PowerLawFit, world: _World, support: Support, generator: torch.Generator
) -> Vector:
    """Draw as many values as ``x`` holds: the tail from the law, the body from that of ``x``.

    A continuous body is drawn between its values: ties would take distances for larger than they are.
    """
    uniform = torch.rand(x.size, 3, dtype=torch.float64, generator=generator).numpy()
    size = int(np.count_nonzero(uniform[:, 0] * x.size >= fit.tail_size))
    index = random_integers(start, size, generator)
    body = x[index]
    if support == "continuous":
        body = body + uniform[:size, 1] * (x[index + 1] - body)
    u = 1 - uniform[size:, 2]
    if world.below is None:
        return np.concatenate((body, draw_tail(fit.alpha, fit.xmin, u, support)))
    if isinstance(world.below, float):
        # the survival function at the change
        left = math.exp(-world.below * math.log(world.at / fit.xmin))
        low = draw_tail(1 + world.below, fit.xmin, u[u > left], support)
        return np.concatenate((body, low, draw_tail(world.alpha, world.at, u[u <= left] / left, support)))
    steps, shares = world.below
    above = u <= world.share
    position = np.searchsorted(shares, (u[~above] - world.share) / (1 - world.share))
    low = steps[np.minimum(position, steps.size - 1)]
    return np.concatenate((body, low, draw_tail(world.alpha, world.at, u[above] / world.share, support)))
