"""How far the fits of a tail can be trusted: bootstraps that choose ``xmin`` anew in every replica."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from rmtaudit.kernels.powerlaw.bootstrap import percentile_interval, random_integers
from rmtaudit.kernels.powerlaw.fit import NoFit, PowerLawFit
from rmtaudit.kernels.tails.average import spread_of_alpha
from rmtaudit.kernels.tails.compare import INSIDE, Comparison, judge
from rmtaudit.kernels.tails.laws import LAWS, Law, LawFit
from rmtaudit.kernels.tails.support import Support, draw_tail, fit_start, laws_of
from rmtaudit.kernels.tails.tail import Tail, side_values

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TailBootstrap:
    """What the replicas of a tail say.

    Attributes
    ----------
    p_value
        Goodness of fit of the power law, as in :class:`~rmtaudit.kernels.tails.average.AlphaSpread`. Small:
        implausible.
    alpha_se, alpha_ci
        Spread of the exponent, from the same replicas: they count that the start may be wrong.
    start_doubt
        Weight of the laws whose exponent changes inside the tail.
    xmin_ci, tail_size_ci
        Spread over resamples of all the values.
    gain_p_values
        Of each law that contains the power law: share, likewise, of the samples of the fitted power law on
        which it gains as much over it.
    best_shares
        Share of the resamples in which a law has the least BIC: an indication of how stable an order is.
    confidence, replicas, unfitted
        As asked, and the replicas of either kind that hold no tail.
    """

    p_value: float
    alpha_se: float
    alpha_ci: tuple[float, float]
    start_doubt: float
    xmin_ci: tuple[float, float]
    tail_size_ci: tuple[float, float]
    gain_p_values: Mapping[Law, float]
    best_shares: Mapping[Law, float]
    confidence: float
    replicas: int
    unfitted: int


def bootstrap_tail(
    values: torch.Tensor,
    tail: Tail,
    *,
    replicas: int,
    generator: torch.Generator,
    confidence: float = 0.9,
) -> TailBootstrap | NoFit:
    """Measure the goodness of the power law, the spread of its parameters and what bends gain by chance.

    Exponent and goodness of fit come from ``replicas`` of
    :func:`~rmtaudit.kernels.tails.average.spread_of_alpha`, the gains of bends from as many semiparametric
    samples of the power law, the rest from as many resamples with replacement. All of them take the values
    for independent draws.

    Parameters
    ----------
    values, tail
        What :func:`~rmtaudit.kernels.tails.tail.fit_tail` was given, and what it returned.
    replicas
        At least 2.
    generator
        Source of the randomness, on the CPU.
    confidence
        Coverage of the intervals, between 0 and 1.

    Raises
    ------
    ValueError
        For fewer than two replicas, a confidence outside (0, 1), or values that are not those of ``tail``.
    """
    if replicas < 2:
        raise ValueError(f"replicas must be at least 2, not {replicas}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    x, _ = side_values(values, tail.side)
    fit = tail.power_law
    if x.size != fit.size or np.count_nonzero(x >= fit.xmin) != fit.tail_size:
        raise ValueError("tail was not fitted to these values")

    of_alpha = spread_of_alpha(
        x, fit, tail.support, replicas=replicas, generator=generator, confidence=confidence
    )
    if isinstance(of_alpha, NoFit):
        return of_alpha
    support = tail.support
    synthetic = [_fit(_sample(x, fit, support, generator), fit, support) for _ in range(replicas)]
    resampled = [_fit(x[random_integers(x.size, x.size, generator)], fit, support) for _ in range(replicas)]
    null = [refit for refit in synthetic if refit is not None]
    spread = [refit for refit in resampled if refit is not None]
    if len(null) < 2 or len(spread) < 2:
        return NoFit("fewer than two replicas have a tail with two different values", x.size, fit.excluded)

    observed = _gains(tail.laws)
    gains = [_gains(laws) for _, laws in null]
    best = Counter(judge(laws, ()).best for _, laws in spread)
    return TailBootstrap(
        p_value=of_alpha.p_value,
        alpha_se=of_alpha.alpha_se,
        alpha_ci=of_alpha.alpha_ci,
        start_doubt=of_alpha.changed,
        xmin_ci=percentile_interval(np.array([refit.xmin for refit, _ in spread]), confidence),
        tail_size_ci=percentile_interval(np.array([refit.tail_size for refit, _ in spread]), confidence),
        gain_p_values={law: _share([each[law] >= gain for each in gains]) for law, gain in observed.items()},
        best_shares={law: best[law] / len(spread) for law in LAWS},
        confidence=confidence,
        replicas=replicas,
        unfitted=2 * replicas - len(null) - len(spread) + of_alpha.unfitted,
    )


def calibrated(tail: Tail, bootstrap: TailBootstrap) -> Tail:
    """Return the tail judged with the larger of the two p-values of each law against the power law."""

    def of(comparison: Comparison) -> Comparison:
        bent = comparison.second
        if comparison.first != "power_law" or bent not in bootstrap.gain_p_values:
            return comparison
        return replace(comparison, p_value=max(comparison.p_value, bootstrap.gain_p_values[bent]))

    comparisons = tuple(map(of, tail.comparisons))
    verdict = judge(tail.laws, comparisons, level=tail.verdict.level, impossible=tail.impossible)
    return replace(tail, comparisons=comparisons, verdict=verdict)


def _sample(
    x: NDArray[np.float64], fit: PowerLawFit, support: Support, generator: torch.Generator
) -> NDArray[np.float64]:
    """Draw as many values as ``x``, ascending, holds: the tail from ``fit``, the body from that of ``x``."""
    body = x[: x.size - fit.tail_size]
    uniform = torch.rand(x.size, 2, dtype=torch.float64, generator=generator).numpy()
    in_tail = uniform[:, 0] * x.size < fit.tail_size
    tail = draw_tail(fit.alpha, fit.xmin, 1 - uniform[in_tail, 1], support)
    return np.concatenate((body[random_integers(body.size, x.size - tail.size, generator)], tail))


def _fit(
    replica: NDArray[np.float64], fit: PowerLawFit, support: Support
) -> tuple[PowerLawFit, tuple[LawFit, ...]] | None:
    refit = fit_start(np.sort(replica), support, excluded=0, min_tail=fit.min_tail, margin=None)
    if isinstance(refit, NoFit):
        return None
    try:
        return refit, laws_of(replica[replica >= refit.xmin], refit.xmin, support)
    except ArithmeticError:  # values that are too far apart
        return None


def _gains(laws: tuple[LawFit, ...]) -> dict[Law, float]:
    by_law = {fit.law: fit.log_likelihood for fit in laws}
    return {law: by_law[law] - by_law["power_law"] for law in LAWS if "power_law" in INSIDE[law]}


def _share(as_far: list[bool]) -> float:
    return (1 + sum(as_far)) / (1 + len(as_far))
