"""How far a power-law fit can be trusted: its goodness of fit and the spread of its parameters.

Both are bootstraps that choose ``xmin`` anew in every replica, so they include what the choice costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from rmtaudit.kernels.powerlaw.fit import NoFit, PowerLawFit, fit_sorted

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLawBootstrap:
    """Goodness of fit and intervals of a power-law fit.

    Attributes
    ----------
    p_value
        Share of the semiparametric replicas that are at least as far from their own fit as the values are
        from theirs. Small: the power law is implausible. Large: it is not ruled out, and no more than that.
    p_value_se
        Its Monte Carlo standard error: the standard deviation of the Beta posterior of the share under a
        uniform prior, so that it is not 0 where no replica, or every one, is as far.
    alpha_se, alpha_ci
        Standard deviation and percentile interval of ``alpha`` over the nonparametric replicas.
    xmin_ci
        Percentile interval of ``xmin`` over the same.
    confidence
        Coverage that the intervals aim at.
    replicas
        Replicas of each kind, as asked.
    unfitted
        Replicas of either kind left out since they hold no tail with two different values.
    """

    p_value: float
    p_value_se: float
    alpha_se: float
    alpha_ci: tuple[float, float]
    xmin_ci: tuple[float, float]
    confidence: float
    replicas: int
    unfitted: int


def bootstrap_power_law(
    values: torch.Tensor,
    fit: PowerLawFit,
    *,
    replicas: int,
    generator: torch.Generator,
    confidence: float = 0.9,
) -> PowerLawBootstrap | NoFit:
    """Measure the goodness of ``fit`` and the spread of its parameters, with ``2·replicas`` refits.

    *Goodness of fit*: a semiparametric replica has as many values, each drawn with probability
    ``tail_size/size`` from the fitted law and otherwise from the values below ``xmin``; its own ``xmin`` and
    ``alpha`` are fitted, and its own distance is compared. *Spread*: a nonparametric replica draws from all
    the values with replacement.

    Both take the values for independent draws, which the eigenvalues of one matrix are not. On layers of
    Gaussian noise, ``alpha_se`` is 0 to 30 % below the spread of ``alpha`` from layer to layer, where
    ``sigma`` is 45 to 65 % below it (``benchmarks/powerlaw_noise.py``).

    Parameters
    ----------
    values
        Shape ``(n,)``: the values that ``fit`` was fitted to.
    fit
        What :func:`~rmtaudit.kernels.powerlaw.fit.fit_power_law` returned for them; replicas are fitted with
        its ``min_tail`` and ``ecdf``.
    replicas
        Replicas of each kind, at least 2. The p-value is then known to about ``1/(2 sqrt(replicas))``.
    generator
        Source of the randomness, on the CPU; equal states give equal results.
    confidence
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    PowerLawBootstrap or NoFit
        ``NoFit`` where fewer than two replicas of either kind could be fitted: nearly all values are equal.

    Raises
    ------
    ValueError
        For fewer than two replicas, a ``confidence`` outside (0, 1), or values that are not those of ``fit``.

    References
    ----------
    Clauset, Shalizi, Newman, SIAM Review 51 (2009), section 4.1 (goodness of fit) and section 3.3
    (uncertainty of ``xmin``).
    """
    if replicas < 2:
        raise ValueError(f"replicas must be at least 2, not {replicas}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    array = values.detach().cpu().double().numpy()
    x = np.sort(array[array > 0])
    if x.size != fit.size or np.count_nonzero(x >= fit.xmin) < fit.tail_size:
        raise ValueError("fit was not fitted to these values")

    synthetic = [refit(semiparametric_replica(x, fit, generator), fit) for _ in range(replicas)]
    resampled = [refit(x[random_integers(x.size, x.size, generator)], fit) for _ in range(replicas)]
    distances = np.array([replica.ks_distance for replica in synthetic if isinstance(replica, PowerLawFit)])
    spread = [replica for replica in resampled if isinstance(replica, PowerLawFit)]
    if distances.size < 2 or len(spread) < 2:
        return NoFit("fewer than two replicas have a tail with two different values", x.size, fit.excluded)

    count = int(np.count_nonzero(distances >= fit.ks_distance))
    posterior = (count + 1) / (distances.size + 2)
    alpha = np.array([replica.alpha for replica in spread])
    xmin = np.array([replica.xmin for replica in spread])
    return PowerLawBootstrap(
        p_value=count / distances.size,
        p_value_se=math.sqrt(posterior * (1 - posterior) / (distances.size + 3)),
        alpha_se=float(alpha.std(ddof=1)),
        alpha_ci=percentile_interval(alpha, confidence),
        xmin_ci=percentile_interval(xmin, confidence),
        confidence=confidence,
        replicas=replicas,
        unfitted=2 * replicas - distances.size - len(spread),
    )


def refit(replica: NDArray[np.float64], fit: PowerLawFit) -> PowerLawFit | NoFit:
    """Fit a replica, in any order, as ``fit`` was fitted."""
    return fit_sorted(np.sort(replica), excluded=0, min_tail=fit.min_tail, ecdf=fit.ecdf, margin=None)


def semiparametric_replica(
    x: NDArray[np.float64], fit: PowerLawFit, generator: torch.Generator
) -> NDArray[np.float64]:
    """Draw as many values as ``x``, ascending, holds: the tail from ``fit``, the body from that of ``x``."""
    # Split by position, not by value: with ecdf="lower" a tail may start among values equal to its xmin
    body = x[: x.size - fit.tail_size]
    uniform = torch.rand(x.size, 2, dtype=torch.float64, generator=generator).numpy()
    in_tail = uniform[:, 0] * x.size < fit.tail_size
    with np.errstate(over="ignore"):
        tail = fit.xmin * (1 - uniform[in_tail, 1]) ** (-1 / (fit.alpha - 1))
    # An exponent next to 1 draws values that no float holds; the largest float takes their place
    tail = np.minimum(tail, np.finfo(np.float64).max)
    return np.concatenate((body[random_integers(body.size, x.size - tail.size, generator)], tail))


def random_integers(below: int, count: int, generator: torch.Generator) -> NDArray[np.int64]:
    """Draw ``count`` integers from 0 to ``below - 1``."""
    # an empty body is never drawn from, but torch wants a range that is not empty
    drawn: NDArray[np.int64] = torch.randint(max(below, 1), (count,), generator=generator).numpy()
    return drawn


def percentile_interval(replicas: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Return the central interval that holds the share ``confidence`` of the replicas."""
    low, high = np.quantile(replicas, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
