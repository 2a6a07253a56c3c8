"""How far off a log-determinant can be: by the rounding of a factorisation, and by that of the entries.

A Cholesky factor that was computed is the exact one of ``A + E`` with ``|E| <= γ |L||Lᵀ|``, entry by entry
(Higham 2002, theorem 10.3; Demmel 1989 for what follows from it after scaling). With ``H`` the computed
``L Lᵀ`` scaled to a diagonal of ones, the scaled ``E`` has a norm of at most ``n γ / (1 - γ)``, and with
``f`` that times ``‖H⁻¹‖_F``::

    |log det A - log det L Lᵀ| <= f + f² / (2 (1 - f))        where f < 1

γ is ``c u / (1 - c u)`` for the ``c`` additions that a term of a sum goes through at most. Where the upper
triangle differs from the lower one by ``δ √(a_ii a_jj)`` at most, ``δ`` is added to γ: the bound is then
about the matrix as it is stored, of which the lower triangle was factored.

Entries that are computed have been rounded before. As long as it is known how far they may be off, Cholesky,
sparse factors and QR of a factor carry that into their margin; otherwise the margin says nothing about the
matrix, and is not given as one.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.logdet.answer import Margin, MarginKind, Outcome, Refusal
from rmtaudit.engine.logdet.reasons import WITHIN_ROUNDING
from rmtaudit.kernels.determinants.factorisations import UNIT, Determinant

if TYPE_CHECKING:
    from rmtaudit.engine.logdet.cholesky import Factorisation
    from rmtaudit.engine.logdet.target import Facts
    from rmtaudit.engine.logdet.tiling import Tiling

ADDITIONS = 128
"""Rounding of the entries, in units of ``u √(a_ii a_jj)``, that every bound holds: no tile of Cholesky has a
smaller side, and no bound of a factorisation counts fewer roundings in an entry."""
PROBE_SAFETY = 5.0
"""Eight probes find less than a fifth of a norm about once in a hundred times, where one direction is all."""
_SMALLEST = 2.0**-1074
"""The smallest subnormal number: the error of a product that underflows."""
_SAFETY = 10
"""How many times the expected size of independent errors makes a margin where no bound holds: a choice."""
_MOST_NATS = 1.0
"""A larger margin refuses the value: the analysis of the first order is void there."""
_NO_BOUND = "no bound on the rounding holds, because a singular matrix lies within the rounding error"
_ENTRIES_UNKNOWN = "the error of the computed entries is unknown"
_ENTRIES_NOT_CARRIED = "the entries are computed, and this method does not account for their rounding"
_ENTRIES_COARSE = (
    "no bound holds for entries that are rounded this coarsely, and their errors need not be independent"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """What rounding can have done to a log-determinant, in nats.

    Attributes
    ----------
    bound
        The computed factor is the exact one of a matrix nearby (Demmel 1989 for Cholesky); the bound is how
        far apart their log-determinants can be. Infinite where the nearby matrices include singular ones.
        It holds for every order of the sums, and is usually far from reached.
    likely
        The same with rounding errors that are independent of each other: the size to expect.
    basis
        What the bound rests on, in words.
    at_floor
        Pivots no larger than ``n eps`` times the entry of the diagonal that they are left of.
    warning
        A sentence where the bound is infinite or pivots are at the floor; else empty.
    distance
        ``f`` of Cholesky: a bound of ``‖H⁻¹ E‖_F``, from which the bound follows; 0 for other methods.
    sums
        What the logarithms and their sum add to the bound.
    """

    bound: float
    likely: float
    basis: str
    at_floor: int = 0
    warning: str = ""
    distance: float = 0.0
    sums: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as evidence."""
        return {"bound": self.bound, "likely": self.likely, "pivots_at_floor": self.at_floor}


def cholesky_rounding(factor: Factorisation, tiling: Tiling, *, scaled: bool) -> Rounding:
    """Return the bound of the log-determinant of the largest minor that was factored."""
    n = factor.done
    additions = min(n + 1, tiling.side + tiling.strip + -(-n // tiling.strip) + 2)
    pivots, scale = factor.diagonal[:n].square(), factor.scale[:n]
    norm = factor.inverse_norm * (1.0 if scaled else float(scale.max()))
    underflow = additions * _SMALLEST / float(scale.min())
    gamma = additions * UNIT / (1 - additions * UNIT) + underflow
    f = PROBE_SAFETY * norm * n * (gamma / (1 - gamma) + factor.asymmetry) if gamma < 1 else math.inf
    logs = 2 * UNIT * float(pivots.log().abs().sum())
    bound = _perturbation(f) + logs
    # independent roundings: each entry of E off by about u √c, and the trace of H⁻¹ E their weighted sum
    likely = (math.sqrt(2 * additions) * UNIT + underflow + factor.asymmetry) * norm + logs / math.sqrt(n)
    at_floor = int((pivots <= n * 2 * UNIT * scale).sum())
    return Rounding(
        bound=bound,
        likely=likely,
        basis="backward error of Cholesky times the norm of the inverse of the matrix scaled to a diagonal "
        f"of ones, estimated with 8 probes and multiplied by {PROBE_SAFETY:g}",
        at_floor=at_floor,
        warning=_warning(bound, at_floor, n),
        distance=f,
        sums=logs,
    )


def widened(rounding: Rounding, factor: float) -> Rounding:
    """Return the rounding of Cholesky with ``E`` larger by a factor."""
    f = factor * rounding.distance
    bound = _perturbation(f) + rounding.sums
    return replace(rounding, bound=bound, likely=rounding.likely * math.sqrt(factor), distance=f)


def pivoted_rounding(factor: Determinant, n: int) -> Rounding:
    """Return the bound of a determinant by LU or LDLᵀ: eigenvalues of ``A⁻¹ E`` are at most ``distance``."""
    logs = 2 * UNIT * n * max(abs(math.log(factor.smallest)), abs(math.log(factor.largest)))
    bound = -n * math.log1p(-factor.distance) + logs if factor.distance < 1 else math.inf
    return Rounding(
        bound=bound,
        # one rounding in each entry of E: those of a sum, and of the trace, mostly cancel
        likely=factor.distance / n + logs / math.sqrt(n),
        basis="backward error by |L||U| (|L||D||Lᵀ|) times the condition number as LAPACK estimates it",
        warning=_warning(bound, 0, n),
    )


def with_rounding(outcome: Outcome, rounding: Rounding) -> Outcome:
    """Return an outcome with the margin of rounding, or refused where rounding leaves nothing of it.

    The margin is the bound where one holds; else ten times the size that is to be expected, if that is below
    a nat. Beyond it the analysis of the first order is void, and the value one of many that the stored matrix
    may have.
    """
    logdet = outcome.logdet
    assert logdet is not None
    if rounding.warning:
        outcome = outcome.cautioned("RA-LD-101", rounding.warning)
    if math.isfinite(rounding.bound):
        low, high = logdet - rounding.bound, logdet + rounding.bound
        margin = Margin(kind=MarginKind.ROUNDING_BOUND, low=low, high=high, basis=rounding.basis)
        return replace(outcome, margin=margin)
    if not rounding.warning:
        outcome = outcome.cautioned("RA-LD-101", f"{_NO_BOUND}.")
    half = _SAFETY * rounding.likely
    if half < _MOST_NATS:
        margin = Margin(
            kind=MarginKind.ROUNDING_ESTIMATE,
            low=logdet - half,
            high=logdet + half,
            basis=f"{_SAFETY} times the expected size of independent errors; {_NO_BOUND}",
        )
        return replace(outcome, margin=margin)
    # the signs of pivots at the level of rounding count nothing
    evidence = {**outcome.evidence, "negative_eigenvalues": None}
    return replace(outcome, evidence=evidence).refused(Refusal.SINGULAR, WITHIN_ROUNDING)


def with_entries(outcome: Outcome, facts: Facts) -> Outcome:
    """Return an outcome whose margin is ``not known`` where it is about the computed entries alone.

    Parameters
    ----------
    outcome
        What a method computed.
    facts
        Of the matrix that it was given.

    Returns
    -------
    Outcome
        The same where the margin holds the rounding of the entries, or where there is none. Otherwise the
        number with a margin that is not known, the warning RA-LD-102, and the margin about the computed
        entries in the evidence, as ``as_computed``.
    """
    margin = outcome.margin
    if margin is None:
        return outcome
    estimated = margin.kind is MarginKind.ROUNDING_ESTIMATE
    if facts.rounding is None:
        reason = _ENTRIES_UNKNOWN
    elif facts.rounding > ADDITIONS and facts.gram is None and estimated:
        reason = _ENTRIES_COARSE
    elif facts.rounding <= ADDITIONS or outcome.carries_entries:
        return outcome
    else:
        reason = _ENTRIES_NOT_CARRIED
    outcome = replace(
        outcome,
        margin=Margin(kind=MarginKind.UNKNOWN, low=-math.inf, high=math.inf, basis=reason),
        evidence={**outcome.evidence, "as_computed": {**asdict(margin), "half_width": margin.half_width}},
    )
    message = (
        f"{reason}: the margin is unknown. The margin in the evidence refers to the entries as computed."
    )
    return outcome.cautioned("RA-LD-102", message)


def _perturbation(f: float) -> float:
    return f + f * f / (2 * (1 - f)) if f < 1 else math.inf


def _warning(bound: float, at_floor: int, n: int) -> str:
    if not math.isfinite(bound):
        known = "a singular matrix lies within the bound of rounding: no digit is guaranteed"
    else:
        known = f"the log-determinant is known to within {bound:.2g} nats"
    if at_floor:
        plural = "pivots are" if at_floor > 1 else "pivot is"
        return f"{at_floor} {plural} at the level of rounding (n eps times the diagonal, n = {n}); {known}."
    return "" if math.isfinite(bound) else f"{known}."
