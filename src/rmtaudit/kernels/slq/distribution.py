"""The distribution function of the eigenvalues of a matrix, by products with uniform probes, with its bands.

Two errors are bounded and none is estimated. A probe sees the spectral measure with random weights: that of
``k`` among ``n`` eigenvalues follows ``Beta(k/2, (n - k)/2)`` exactly, whatever the matrix, because the probe
is uniform on the sphere. And ``l`` Lanczos steps know only ``2l`` moments of the measure that the probe sees:
the inequalities of Chebyshev, Markov and Stieltjes bound its distribution function by them (Szegő 1975,
section 3.41). Nothing is assumed of the matrix; freeness from its coordinates in particular is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special

from rmtaudit.kernels.lanczos import EPSILON, Jacobi, start
from rmtaudit.kernels.operators import Operator
from rmtaudit.kernels.slq.quadrature import Rule, away_from_zero, gauss, with_last
from rmtaudit.kernels.slq.samplers import Sampler

_GRID = 65
"""A convention: levels between which the distribution function is interpolated."""
_ATOM, _WEIGHT = 1e-7, 0.005
"""A convention: half the width of an atom, of the largest eigenvalue, and the share of the eigenvalues that
it needs."""
_MOST_ATOMS, _FAR = 24, 1e6
"""A convention: atoms that are resolved at most; and multiples of the range beyond which an end is
unbounded."""
_BISECTIONS = 60
"""Halvings of an interval: more than the 53 bits of float64."""
_TINY = 1e-6
"""Of one eigenvalue: a share is a multiple of ``1/n`` up to the rounding of an incomplete beta function."""
_CHUNK = 4096
"""A convention: rules that are solved as one batch, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class Atom:
    """Eigenvalues that the products cannot tell apart: a place, and bounds of their share.

    ``low`` and ``high`` are the 90 % bounds of the share of all eigenvalues within ``width`` of ``place``.
    """

    place: float
    width: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """The distribution function at some points, between bounds.

    Attributes
    ----------
    points
        Shape ``(P,)``, ascending.
    lower, upper
        Bounds of the mean over the probes of the measure at or below each point, shape ``(P,)``. They do not
        include the choice of the probes: :meth:`band` does.
    rule
        The Gauss rules, one a probe.
    jacobi
        The Jacobi matrices, one a probe.
    size
        Order of the matrix that the probes live in.
    zeros
        Eigenvalues known to be 0 beside those.
    """

    points: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    rule: Rule
    jacobi: Jacobi
    size: int
    zeros: int = 0

    @property
    def probes(self) -> int:
        """Number of probes."""
        return int(self.rule.nodes.shape[0])

    @property
    def steps(self) -> int:
        """Number of Lanczos steps."""
        return int(self.rule.nodes.shape[1])

    def cdf(self) -> torch.Tensor:
        """Return the share of all eigenvalues at or below each point, the middle of the bounds."""
        return self._of_all((self.lower + self.upper) / 2)

    def band(self, confidence: float = 0.9) -> tuple[torch.Tensor, torch.Tensor]:
        """Return bounds of the share of all eigenvalues at or below each point, shape ``(P,)`` each.

        They hold at each point with at least this probability over the choice of the probes.
        """
        tail = (1 - confidence) / 2
        low, high = shares_between(self.lower, self.upper, self.size, self.probes, tail)
        return self._of_all(low), self._of_all(high)

    def quantiles(self, levels: torch.Tensor) -> torch.Tensor:
        """Return the eigenvalues at these levels, by interpolation, shape of ``levels``."""
        shares = np.maximum.accumulate(self.cdf().numpy())
        quantiles = torch.from_numpy(np.interp(levels.numpy(), shares, self.points.numpy()))
        for place, width in _candidates(self.rule, self.jacobi):
            quantiles = torch.where((quantiles - place).abs() <= width, place, quantiles)
        return quantiles

    def quantile_band(
        self, levels: torch.Tensor, confidence: float = 0.9
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return bounds of the eigenvalues at these levels; the ends are those of :meth:`edges`."""
        low, high = self.band(confidence)
        bottom, top = (list(side) for side in self.edges(confidence))
        if self.zeros:
            bottom[0], top[1] = min(bottom[0], 0.0), max(top[1], 0.0)
        below, above = [], []
        for level in levels.tolist():
            under = torch.nonzero(high < level).flatten()
            over = torch.nonzero(low >= level).flatten()
            below.append(float(self.points[under[-1]]) if len(under) else bottom[0])
            above.append(float(self.points[over[0]]) if len(over) else top[1])
        return torch.tensor(below, dtype=torch.float64), torch.tensor(above, dtype=torch.float64)

    def edges(self, confidence: float = 0.9) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return bounds of the smallest and of the largest eigenvalue of the matrix that the probes live in.

        One side of each is a Ritz value. Beyond the other an eigenvalue is excluded: the moments of every
        probe bound its weight there, and the product of the probabilities of weights so small is smaller
        than that of as many uniform numbers is, but with this probability.
        """
        limit = float(special.gammaincinv(self.probes, 1 - (1 - confidence) / 2))
        lowest, highest = float(self.rule.nodes.min()), float(self.rule.nodes.max())
        span = max(highest - lowest, 8 * EPSILON * max(abs(lowest), abs(highest)))
        return (
            (self._excluded(lowest, -span, limit), lowest),
            (highest, self._excluded(highest, span, limit)),
        )

    def _excluded(self, end: float, span: float, limit: float) -> float:
        """Return the nearest point beyond ``end`` with no eigenvalue on its far side, to 1 % of the way."""
        if self._surprise(end) >= limit or span == 0:
            return end
        high = 1e-12
        while self._surprise(end + high * span) < limit:
            high *= 4
            if high > _FAR:
                return math.copysign(math.inf, span)
        low = high / 4
        while high - low > 1e-2 * high:
            middle = (low + high) / 2
            low, high = (middle, high) if self._surprise(end + middle * span) < limit else (low, middle)
        return end + high * span

    def _surprise(self, point: float) -> float:
        """Return minus the logarithm of the probability of the weights that the probes allow beyond it."""
        allowed = christoffel(self.jacobi, point)
        # a probe whose space is exhausted can still miss an eigenvalue whose weight is below rounding
        allowed = torch.where(self.jacobi.next == 0, EPSILON, allowed).clamp(1e-300, 1)
        chance = special.betainc(0.5, max(self.size - 1, 1) / 2, allowed.numpy())
        return float(-np.log(np.maximum(chance, 1e-300)).sum())

    def atoms(self, confidence: float = 0.9) -> tuple[Atom, ...]:
        """Return places with more than half a per cent of the eigenvalues and more than one of them."""
        tail = (1 - confidence) / 2
        atoms = []
        for place, width in _candidates(self.rule, self.jacobi):
            ends = torch.tensor([place - width, place + width], dtype=torch.float64)
            lower, upper = brackets(self.jacobi, ends)
            inside = (lower[:, 1] - upper[:, 0]).clamp(min=0).mean()
            most = (upper[:, 1] - lower[:, 0]).clamp(max=1).mean()
            low, high = shares_between(inside[None], most[None], self.size, self.probes, tail)
            holds = self.zeros if abs(place) <= width else 0
            everything = self.size + self.zeros
            least = (float(low) * self.size + holds) / everything
            if float(inside) > max(_WEIGHT, 2 / self.size):
                atoms.append(Atom(place, width, least, (float(high) * self.size + holds) / everything))
        if self.zeros and not any(abs(one.place) <= one.width for one in atoms):
            share = self.zeros / (self.size + self.zeros)
            atoms.append(Atom(0.0, 0.0, share, share))
        return tuple(sorted(atoms, key=lambda one: one.place))

    def _of_all(self, shares: torch.Tensor) -> torch.Tensor:
        known = self.zeros * (self.points >= 0)
        return (known + self.size * shares) / (self.size + self.zeros)


def distribution(
    operator: Operator, seed: int, *, steps: int = 60, probes: int = 16, batch: int = 16
) -> Distribution:
    """Return the distribution function of the eigenvalues of a matrix that is known by its products.

    Parameters
    ----------
    operator
        The matrix, scaled so that its squares are in the range of float64.
    seed
        Of the probes, 0 to 2^64 - 1.
    steps, probes
        Lanczos steps and uniform probes, at least 1 and 2.
    batch
        Probes at a time: the basis takes ``2.5 · 8 · batch · steps · size`` bytes at most.

    Raises
    ------
    AsymmetryError
        If products show that the matrix is not symmetric.
    ArithmeticError
        If a product is not finite.

    References
    ----------
    Lin, Saad, Yang, *Approximating spectral densities of large matrices*, 2016. Golub, Meurant, *Matrices,
    Moments and Quadrature with Applications*, 2010.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, slq
    >>> matrix = torch.diag(torch.linspace(1, 2, 200, dtype=torch.float64))
    >>> operator = operators.dense(matrix, smallest=1.0)
    >>> law = slq.distribution(operator, seed=0)
    >>> median = law.quantiles(torch.tensor([0.5], dtype=torch.float64))
    >>> abs(float(median) - 1.5) < 0.05
    True
    """
    if steps < 1 or probes < 2:
        raise ValueError("at least 1 step and 2 probes are needed")
    sampler = Sampler(seed, "sphere")
    parts = []
    for first in range(0, probes, batch):
        chosen = range(first, min(probes, first + batch))
        parts.append(start(operator, sampler.unit(chosen, operator.size)).extend(steps))
    jacobi = _joined(parts)
    rule = gauss(jacobi)
    points = _grid(rule, jacobi)
    if operator.zeros:
        points = torch.unique(torch.cat([points, points.new_zeros(1)]))
    lower, upper = brackets(jacobi, points)
    return Distribution(
        points=points,
        lower=lower.mean(0),
        upper=upper.mean(0),
        rule=rule,
        jacobi=jacobi,
        size=operator.size,
        zeros=operator.zeros,
    )


def shares_between(
    lower: torch.Tensor, upper: torch.Tensor, size: int, probes: int, tail: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return bounds of a share of the eigenvalues from bounds of the mean weight that probes give it.

    The mean over ``s`` probes of ``Beta(k/2, (n - k)/2)`` has mean ``F = k/n`` and variance
    ``2 F (1 - F)/(s (n + 2))``; it is taken for the Beta law of these, and inverted as Clopper and Pearson
    do.

    Parameters
    ----------
    lower, upper
        Any shape: bounds of the mean weight.
    size, probes
        Order of the matrix n, and number of probes s.
    tail
        Probability of a miss on each side.
    """
    count = probes * (size + 2) / 2 - 1
    weights = np.stack([lower.cpu().numpy(), upper.cpu().numpy()])
    ends = []
    for weight, sign in zip(weights, (-1.0, 1.0), strict=True):
        inside = np.clip(weight, 0.0, 1.0)
        low, high = (np.zeros_like(inside), inside) if sign < 0 else (inside, np.ones_like(inside))
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            a, b = count * middle, count * (1 - middle)
            below = special.betainc(np.maximum(a, 1e-300), np.maximum(b, 1e-300), inside)
            # sign < 0: such a share seldom gives a weight so large; sign > 0: seldom one so small
            refused = (1 - below < tail) if sign < 0 else (below >= tail)
            low, high = np.where(refused, middle, low), np.where(refused, high, middle)
        ends.append(low if sign < 0 else high)
    # nothing but a share of 0 gives a weight of 0, and nothing but all gives 1
    least = np.where(weights[0] <= 0, 0.0, ends[0])
    most = np.where(weights[1] >= 1, 1.0, ends[1])
    # shares are multiples of 1/n
    least, most = np.ceil(size * least - _TINY) / size, np.floor(size * most + _TINY) / size
    return torch.from_numpy(least.clip(0, 1)), torch.from_numpy(most.clip(0, 1))


def brackets(jacobi: Jacobi, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return bounds of the measure of every probe at or below each point, shapes ``(s, P)``.

    By the rule with a node at the point itself, as :func:`rmtaudit.kernels.slq.quadrature.step_bracket`.
    """
    probes, steps = jacobi.diagonal.shape
    scale = (jacobi.diagonal.abs().amax(1) + jacobi.next)[:, None]
    pivot = jacobi.diagonal[:, :1] - points
    for k in range(1, steps):
        off = jacobi.off[:, k - 1, None] ** 2
        pivot = jacobi.diagonal[:, k, None] - points - off / away_from_zero(pivot, scale)
    last = points + jacobi.next[:, None] ** 2 / away_from_zero(pivot, scale)
    lower, upper = torch.empty_like(last), torch.empty_like(last)
    step = max(1, _CHUNK // probes)
    for first in range(0, len(points), step):
        there = slice(first, first + step)
        part = last[:, there]
        count = part.shape[1]
        repeated = Jacobi(
            jacobi.diagonal.repeat_interleave(count, 0),
            jacobi.off.repeat_interleave(count, 0),
            jacobi.next.repeat_interleave(count),
        )
        rule = with_last(repeated, part.reshape(-1))
        at = (rule.nodes - points[there].repeat(probes)[:, None]).abs().argmin(1, keepdim=True)
        sums = torch.nn.functional.pad(rule.weights.cumsum(1), (1, 0))
        lower[:, there] = sums.gather(1, at).reshape(probes, count)
        upper[:, there] = sums.gather(1, at + 1).reshape(probes, count)
    rounding = 8 * steps**0.5 * EPSILON
    whole = jacobi.next == 0
    if bool(whole.any()):
        plain = gauss(jacobi)
        margin = rounding * scale[:, :, None]
        gap = plain.nodes[:, None, :] - points[None, :, None]
        sure = (plain.weights[:, None, :] * (gap < -margin)).sum(2)
        most = (plain.weights[:, None, :] * (gap <= margin)).sum(2)
        lower = torch.where(whole[:, None], sure, lower)
        upper = torch.where(whole[:, None], most, upper)
    return (lower - rounding).clamp(0, 1), (upper + rounding).clamp(0, 1)


def christoffel(jacobi: Jacobi, point: float) -> torch.Tensor:
    """Return the largest weight that the moments allow at ``point``, one a probe: ``1/Σ p_k(x)²``.

    Orthonormal polynomials of degree 0 to l, by their three-term recurrence, scaled at each step: far from
    the nodes they overflow.
    """
    before = torch.zeros(len(jacobi.next), dtype=torch.float64)
    now = torch.ones_like(before)
    total, exponent = torch.ones_like(before), torch.zeros_like(before)
    offs = torch.cat([jacobi.off, jacobi.next[:, None]], 1)
    for k in range(jacobi.diagonal.shape[1]):
        off = offs[:, k]
        earlier = offs[:, k - 1] if k else torch.zeros_like(off)
        alive = off > 0
        following = ((point - jacobi.diagonal[:, k]) * now - earlier * before) / torch.where(alive, off, 1.0)
        before, now = torch.where(alive, now, 0.0), torch.where(alive, following, 0.0)
        total = total + now**2
        size = torch.maximum(now.abs(), before.abs()).clamp(min=1.0)
        before, now, total = before / size, now / size, total / size**2
        exponent = exponent + 2 * size.log()
    return torch.exp(-(total.log() + exponent))


def _joined(parts: list[Jacobi]) -> Jacobi:
    factor = None
    if parts[0].factor is not None:
        pairs = [part.factor for part in parts if part.factor is not None]
        factor = (torch.cat([one for one, _ in pairs]), torch.cat([other for _, other in pairs]))
    return Jacobi(
        torch.cat([part.diagonal for part in parts]),
        torch.cat([part.off for part in parts]),
        torch.cat([part.next for part in parts]),
        factor,
    )


def _grid(rule: Rule, jacobi: Jacobi) -> torch.Tensor:
    """Return points at which the distribution function is bounded: quantiles, and both sides of atoms."""
    nodes, order = rule.nodes.reshape(-1).sort()
    shares = rule.weights.reshape(-1)[order].cumsum(0)
    shares = shares / shares[-1]
    levels = torch.linspace(0, 1, _GRID, dtype=torch.float64)
    # between the nodes around each level, so that the points are not those of one probe
    place = torch.searchsorted(shares, levels).clamp(max=len(nodes) - 1)
    middle = (nodes[place] + nodes[(place + 1).clamp(max=len(nodes) - 1)]) / 2
    points: torch.Tensor = torch.cat([middle, nodes[:1], nodes[-1:]])
    for spot, width in _candidates(rule, jacobi):
        ends = torch.tensor([spot - width, spot + width], dtype=torch.float64)
        points = torch.cat([points[(points - spot).abs() > width], ends])
    grid: torch.Tensor = torch.unique(points)
    return grid


def _candidates(rule: Rule, jacobi: Jacobi) -> list[tuple[float, float]]:
    """Return places, with a width, where a Ritz value of the first probe has converged and has weight."""
    size = float(rule.nodes.abs().max())
    width = max(_ATOM * size, 64 * EPSILON * size)
    residual = jacobi.next[0] * rule.last[0]
    good = (residual <= width / 4) & (rule.weights[0] > _WEIGHT / 4)
    places = rule.nodes[0][good].tolist()
    kept: list[float] = []
    for place in places:
        if not kept or place - kept[-1] > 2 * width:
            kept.append(0.0 if abs(place) <= width else place)
    return [(place, width) for place in kept[:_MOST_ATOMS]]
