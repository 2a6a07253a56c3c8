"""Numbers of a spectrum with their bounds, from eigenvalues or products: moments, edges, log-determinant."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from scipy import special

from rmtaudit.kernels.slq.distribution import Distribution
from rmtaudit.kernels.slq.integrands import Integrand
from rmtaudit.kernels.slq.quadrature import bracket

_INDEFINITE = "the matrix is not known to be positive"
_SINGULAR = "the matrix may be singular"
_UNBOUNDED = "the products do not bound the smallest eigenvalue away from 0"


@dataclass(frozen=True, slots=True)
class Bounded:
    """A number with bounds of 90 %, or the reason why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    def mapped(self, rising: Callable[[float], float]) -> Bounded:
        """Return a rising function of the number, with its bounds."""
        value, low, high = (
            None if number is None else rising(number) for number in (self.value, self.low, self.high)
        )
        return Bounded(value, low, high, self.reason)


def of_eigenvalues(values: torch.Tensor) -> dict[str, Bounded]:
    """Return the numbers of a whole spectrum, all of them exact.

    Parameters
    ----------
    values
        Shape ``(n,)``, float64, ascending; eigenvalues that are 0 up to rounding are 0.
    """
    low, high = float(values[0]), float(values[-1])
    weights = torch.full_like(values, 1 / len(values))
    numbers = {name: _exactly(number) for name, number in _moments(values, weights).items()}
    numbers |= {"lower_edge": _exactly(low), "upper_edge": _exactly(high)}
    _, counts = torch.unique_consecutive(values, return_counts=True)
    numbers["atom"] = _exactly(float(counts[counts > 1].sum()) / len(values))
    reason = _INDEFINITE if low < 0 else _SINGULAR if low == 0 else ""
    if reason:
        return numbers | dict.fromkeys(("log_det", "condition"), Bounded(None, reason=reason))
    return numbers | {"log_det": _exactly(float(values.log().mean())), "condition": _exactly(high / low)}


def of_products(spectrum: Distribution, *, semidefinite: bool) -> dict[str, Bounded]:
    """Return the numbers of a spectrum that is known by products, with bounds of 90 %.

    Moments and the effective rank vary from probe to probe, and their bounds are Student's of a jackknife.
    Edges and the log-determinant are bounded as :mod:`rmtaudit.kernels.slq.distribution` says.

    Parameters
    ----------
    spectrum
        The distribution.
    semidefinite
        Whether the matrix is known to be positive semidefinite.
    """
    out = {name: _jackknife(spectrum, name) for name in _moments(*_all(spectrum))}
    bottom, top = spectrum.edges()
    floor = 0.0 if semidefinite else -math.inf
    lowest, least = max(bottom[1], floor), max(bottom[0], floor)
    if spectrum.zeros:
        lowest, least = min(lowest, 0.0), min(least, 0.0)
    out["lower_edge"] = Bounded(lowest, least, lowest)
    out["upper_edge"] = Bounded(top[0], top[0], top[1])
    atoms = spectrum.atoms()
    low, high = (math.fsum(getattr(one, side) for one in atoms) for side in ("low", "high"))
    out["atom"] = Bounded((low + min(high, 1.0)) / 2, low, min(high, 1.0))
    if lowest < 0:
        return out | dict.fromkeys(("log_det", "condition"), Bounded(None, reason=_INDEFINITE))
    if least <= 0:
        reason = _SINGULAR if spectrum.zeros or lowest == 0 else _UNBOUNDED
        return out | dict.fromkeys(("log_det", "condition"), Bounded(None, reason=reason))
    out["log_det"] = shifted_log_determinant(spectrum, 0.0, least)
    out["condition"] = Bounded(top[0] / lowest, top[0] / lowest, top[1] / least)
    return out


def shifted_log_determinant(spectrum: Distribution, shift: float, smallest: float) -> Bounded:
    """Return the mean over all eigenvalues of ``log(λ + t)``, between Gauss and Gauss-Radau.

    Parameters
    ----------
    spectrum
        The distribution.
    shift, smallest
        ``t``, and a lower bound of the spectrum; their sum is positive.
    """
    log = Integrand(
        name="log(x + t)",
        value=lambda x: (x + shift).log(),
        slope=lambda x: 1 / (x + shift),
        even=-1,
        odd=1,
        at_zero=0.0,
    )
    mean = _bracketed(spectrum, log, smallest)
    return _with_zeros(spectrum, mean, math.log(shift) if shift > 0 else 0.0)


def effective_dimension(spectrum: Distribution, shift: float, smallest: float) -> Bounded:
    """Return the mean over all eigenvalues of ``λ/(λ + t)``, as :func:`shifted_log_determinant`."""
    ratio = Integrand(
        name="x/(x + t)",
        value=lambda x: x / (x + shift),
        slope=lambda x: shift / (x + shift) ** 2,
        even=-1,
        odd=1,
        at_zero=0.0,
    )
    return _with_zeros(spectrum, _bracketed(spectrum, ratio, smallest), 0.0)


def _bracketed(spectrum: Distribution, integrand: Integrand, smallest: float) -> Bounded:
    if bool((spectrum.jacobi.next == 0).all()):
        bounds = bracket(
            spectrum.jacobi, spectrum.rule, integrand=integrand, smallest=None, largest=None, epsilon=2.0**-52
        )
    else:
        # the node of Radau must lie outside those of Gauss
        below = float(spectrum.rule.nodes.min()) - 1e-12 * float(spectrum.rule.nodes.abs().max())
        bounds = bracket(
            spectrum.jacobi,
            spectrum.rule,
            integrand=integrand,
            smallest=min(smallest, below),
            largest=None,
            epsilon=2.0**-52,
        )
    lower, upper = (side.isfinite() for side in (bounds.lower, bounds.upper))
    if not bool((lower & upper).all()):
        return Bounded(None, reason=_UNBOUNDED)
    count = spectrum.probes
    reach = float(special.stdtrit(count - 1, 0.95)) / math.sqrt(count)
    low = float(bounds.lower.mean()) - reach * float(bounds.lower.std())
    high = float(bounds.upper.mean()) + reach * float(bounds.upper.std())
    return Bounded(float((bounds.lower + bounds.upper).mean()) / 2, low, high)


def _with_zeros(spectrum: Distribution, of_rest: Bounded, at_zero: float) -> Bounded:
    if not spectrum.zeros:
        return of_rest
    share = spectrum.zeros / (spectrum.size + spectrum.zeros)
    return of_rest.mapped(lambda number: (1 - share) * number + share * at_zero)


def _all(spectrum: Distribution, without: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the nodes and weights of all probes but one, as one measure with the known zeros."""
    kept = torch.ones(spectrum.probes, dtype=torch.bool)
    if without is not None:
        kept[without] = False
    share = spectrum.size / (spectrum.size + spectrum.zeros)
    nodes = torch.cat([spectrum.rule.nodes[kept].reshape(-1), torch.zeros(1, dtype=torch.float64)])
    weights = spectrum.rule.weights[kept].reshape(-1) * share / int(kept.sum())
    return nodes, torch.cat([weights, torch.tensor([1 - share], dtype=torch.float64)])


def _jackknife(spectrum: Distribution, name: str) -> Bounded:
    value = _moments(*_all(spectrum))[name]
    drawn = [_moments(*_all(spectrum, without))[name] for without in range(spectrum.probes)]
    numbers = [one for one in drawn if isinstance(one, float)]
    if not isinstance(value, float) or len(numbers) < len(drawn):
        return _exactly(value if isinstance(value, str) else "the probes do not agree that one exists")
    count = len(numbers)
    middle = math.fsum(numbers) / count
    error = math.sqrt((count - 1) / count * math.fsum((one - middle) ** 2 for one in numbers))
    reach = float(special.stdtrit(count - 1, 0.95)) * error
    floor = 0.0 if name in ("standard_deviation", "effective_rank") else -math.inf
    return Bounded(value, max(value - reach, floor), value + reach)


def _moments(nodes: torch.Tensor, weights: torch.Tensor) -> Mapping[str, float | str]:
    """Return the moments of a measure, and in a clause why one does not exist."""
    mean = float((weights * nodes).sum())
    centred = nodes - mean
    spread = math.sqrt(float((weights * centred**2).sum()))
    rounding = 1e-12 * float(nodes.abs().max())
    skewness: float | str = "all eigenvalues agree"
    if spread > rounding:
        skewness = float((weights * (centred / spread) ** 3).sum())
    rank: float | str = _INDEFINITE
    if float(nodes.min()) >= -rounding:
        rank = "all eigenvalues are 0"
        if mean > 0:
            ratios = nodes.clamp(min=0) / mean
            rank = math.exp(float((weights * torch.special.entr(ratios)).sum()))
    return {"mean": mean, "standard_deviation": spread, "skewness": skewness, "effective_rank": rank}


def _exactly(number: float | str) -> Bounded:
    return Bounded(None, reason=number) if isinstance(number, str) else Bounded(number, number, number)


def snapped(values: torch.Tensor) -> torch.Tensor:
    """Return ascending eigenvalues with those that agree up to rounding made equal, and those near 0 zero.

    Rounding is ``n eps max|λ|``: a backward-stable solver moves no eigenvalue by more.

    Parameters
    ----------
    values
        Shape ``(n,)``, float64.
    """
    values = values.sort().values
    rounding = len(values) * 2.0**-52 * float(values.abs().max())
    values = torch.where(values.abs() <= rounding, 0.0, values)
    group = torch.zeros(len(values), dtype=torch.long)
    group[1:] = (values.diff() > rounding).long().cumsum(0)
    counts = torch.bincount(group)
    first = counts.cumsum(0) - counts
    # the middle member stands for its group: a mean would round again
    result: torch.Tensor = values[(first + counts // 2)[group]]
    return result
