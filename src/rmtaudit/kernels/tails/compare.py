"""Which of five laws describes a tail: likelihood ratios, and no winner without evidence.

Two laws that cannot turn into each other are compared by Vuong's test: the difference of their
log-likelihoods over its own spread. A law that contains another one never fits worse; the gain is compared
with what the extra parameter gains by chance. Of the five, three contain the power law (as a limit), so no
test can ever favour the power law over them: it can only stay without anything that is better.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from rmtaudit.kernels.tails.laws import Law, LawFit

Kind = Literal["vuong", "nested", "overlapping"]

INSIDE: dict[Law, tuple[Law, ...]] = {
    "power_law": (),
    "truncated_power_law": ("power_law", "exponential"),
    "lognormal": ("power_law",),
    "stretched_exponential": ("power_law", "exponential"),
    "exponential": (),
}
"""The laws that each law contains: by one value of its extra parameter, or as the limit of such values."""

LEVEL = 0.05
"""Default chance, at most, that the true law is ruled out, were the values independent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two laws of the same tail.

    Attributes
    ----------
    first, second
        The laws, in the order of ``LAWS``.
    log_ratio
        Log-likelihood of the first less that of the second, in nats. It does not depend on the unit.
    z
        Vuong's statistic: ``log_ratio`` over ``sqrt(n)`` times the standard deviation of its terms; 0 where
        the two densities are the same.
    p_value
        Of a difference as large if both laws were equally near to the truth, two-sided, and the values
        independent draws.
    kind
        ``"vuong"``: neither contains the other, nor do they share a law. ``"nested"``: one contains the
        other; ``2 |log_ratio|`` against chi-squared with one degree of freedom, which is too large a p-value
        by a factor of 2 where the smaller law is on the boundary. ``"overlapping"``: they share a law; the
        larger of Vuong's p-value and that of the better law against the shared one.
    """

    first: Law
    second: Law
    log_ratio: float
    z: float
    p_value: float
    kind: Kind

    @property
    def better(self) -> Law | None:
        """The law of the greater likelihood; ``None`` where both are equal."""
        if self.log_ratio == 0:
            return None
        return self.first if self.log_ratio > 0 else self.second


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the comparisons support.

    Attributes
    ----------
    winner
        The one law that is left, where every other one is ruled out; ``None`` where several are.
    plausible
        The laws that no other one beats, the simplest first. They cannot be told apart.
    ruled_out
        Each law that is beaten, with the law that beats it most clearly, or ``"distance"`` where it is
        farther from the values than a sample of that size from its own law.
    simplest
        The plausible law that every other plausible law contains, where there is one: the others are it with
        a bend that gains no more than chance. ``None`` where there is none, or only one law is left.
    best
        The law of the smallest BIC: an order of preference, not evidence.
    level
        Each law is compared with the four others at ``level/4``, so that the true one is ruled out with at
        most the chance ``level``.
    """

    winner: Law | None
    plausible: tuple[Law, ...]
    simplest: Law | None
    ruled_out: tuple[tuple[Law, Law | Literal["distance"]], ...]
    best: Law
    level: float


def compare_laws(fits: Sequence[LawFit]) -> tuple[Comparison, ...]:
    """Compare every two laws fitted to one tail.

    The p-values take the values for independent draws. Eigenvalues of one matrix are not: they repel each
    other, so sums over them fluctuate less than ``sqrt(n)``. Vuong's spread is then too large and the p-value
    too large; a chi-squared gain is not calibrated in either direction (``benchmarks/tails.py``).

    References
    ----------
    Vuong, *Likelihood ratio tests for model selection and non-nested hypotheses*, Econometrica 57 (1989);
    Clauset, Shalizi, Newman, SIAM Review 51 (2009), appendix C.
    """
    by_law = {fit.law: fit for fit in fits}
    return tuple(_compare(first, second, by_law) for first, second in combinations(fits, 2))


def judge(
    fits: Sequence[LawFit],
    comparisons: Sequence[Comparison],
    *,
    level: float = LEVEL,
    impossible: Collection[Law] = (),
) -> Verdict:
    """Say which laws are left, and whether that is one.

    A law is ruled out where another one is better at ``level/4``. The power law cannot rule out the three
    laws that contain it, so it never wins: at best it is the simplest of those that are left. The laws that
    are ``impossible``, too far from the values to be their law at all, are ruled out by their distance.

    Raises
    ------
    ValueError
        For a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    by_law = {fit.law: fit for fit in fits}
    each = level / (len(fits) - 1)
    beaten: dict[Law, tuple[float, float, Law]] = {}
    for comparison in comparisons:
        better = comparison.better
        if better is None or comparison.p_value >= each:
            continue
        worse = comparison.second if better == comparison.first else comparison.first
        case = (comparison.p_value, -abs(comparison.log_ratio), better)
        beaten[worse] = min(case, beaten.get(worse, case))
    ruled_out: dict[Law, Law | Literal["distance"]] = {law: beaten[law][2] for law in beaten}
    ruled_out |= dict.fromkeys(impossible, "distance")
    left = sorted((fit for fit in fits if fit.law not in ruled_out), key=_bic)
    plausible = tuple(fit.law for fit in sorted(left, key=lambda fit: (_size(fit.law), _bic(fit))))
    # a law that is its own limit is no law of its own, and wins nothing
    alone = len(left) == 1 and not by_law[left[0].law].degenerate
    return Verdict(
        winner=left[0].law if alone else None,
        plausible=plausible,
        simplest=_simplest(plausible),
        ruled_out=tuple((law, ruled_out[law]) for law in by_law if law in ruled_out),
        best=min(fits, key=_bic).law,
        level=level,
    )


def _compare(first: LawFit, second: LawFit, by_law: dict[Law, LawFit]) -> Comparison:
    ratio, z, p_vuong = _vuong(first, second)
    if first.law in INSIDE[second.law] or second.law in INSIDE[first.law]:
        return Comparison(
            first=first.law, second=second.law, log_ratio=ratio, z=z, p_value=_chance(ratio), kind="nested"
        )
    shared = [law for law in INSIDE[first.law] if law in INSIDE[second.law]]
    if not shared:
        return Comparison(
            first=first.law, second=second.law, log_ratio=ratio, z=z, p_value=p_vuong, kind="vuong"
        )
    better = first if ratio > 0 else second
    gains = [better.log_likelihood - by_law[law].log_likelihood for law in shared]
    p_value = max([p_vuong, *map(_chance, gains)])
    return Comparison(
        first=first.law, second=second.law, log_ratio=ratio, z=z, p_value=p_value, kind="overlapping"
    )


def _vuong(first: LawFit, second: LawFit) -> tuple[float, float, float]:
    terms = first.pointwise - second.pointwise
    ratio = float(terms.sum())
    spread = float(terms.std()) * math.sqrt(terms.size)
    # to rounding: the terms of the same density are not quite 0
    noise = 1e-12 * terms.size * max(1.0, float(np.abs(first.pointwise).max()))
    if (first.degenerate and second.degenerate) or (abs(ratio) <= noise and spread <= noise):
        return 0.0, 0.0, 1.0
    z = ratio / spread if spread else math.copysign(math.inf, ratio)
    return ratio, z, math.erfc(abs(z) / math.sqrt(2))


def _chance(gain: float) -> float:
    """Return the probability that chi-squared with one degree of freedom exceeds ``2 |gain|``."""
    return math.erfc(math.sqrt(abs(gain)))


def _simplest(plausible: Sequence[Law]) -> Law | None:
    inner = [law for law in plausible if all(law in INSIDE[other] for other in plausible if other != law)]
    return inner[0] if len(inner) == 1 and len(plausible) > 1 else None


def _size(law: Law) -> int:
    return 2 if INSIDE[law] else 1


def _bic(fit: LawFit) -> float:
    size = 1 if fit.degenerate else _size(fit.law)
    return size * math.log(fit.pointwise.size) - 2 * fit.log_likelihood
