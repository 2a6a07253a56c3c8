"""How far rounding can have moved a log-determinant.

A Cholesky factor that was computed is the exact one of ``A + E`` with ``|E| <= γ |L||Lᵀ|``, entry by entry
(Higham 2002, theorem 10.3; Demmel 1989 for what follows from it after scaling). With ``H`` the computed
``L Lᵀ`` scaled to a diagonal of ones, the scaled ``E`` has a norm of at most ``n γ / (1 - γ)``, and with
``f`` that times ``‖H⁻¹‖_F``::

    |log det A - log det L Lᵀ| <= f + f² / (2 (1 - f))        where f < 1

γ is ``c u / (1 - c u)`` for the ``c`` additions that a term of a sum goes through at most. Where the upper
triangle differs from the lower one by ``δ √(a_ii a_jj)`` at most, ``δ`` is added to γ: the bound is then
about the matrix as it is stored, of which the lower triangle was factored.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from rmtaudit.engine.logdet.result import Rounding
from rmtaudit.kernels.determinants.factorisations import UNIT, Determinant

if TYPE_CHECKING:
    from rmtaudit.engine.logdet.cholesky import Factorisation
    from rmtaudit.engine.logdet.tiling import Tiling

_SMALLEST = 2.0**-1074
SAFETY = 5.0
"""Eight probes find less than a fifth of a norm about once in a hundred times, where one direction is all."""


def cholesky_rounding(found: Factorisation, tiling: Tiling, *, scaled: bool) -> Rounding:
    """Return the bound of the log-determinant of the largest minor that was factored."""
    n = found.done
    additions = min(n + 1, tiling.side + tiling.strip + -(-n // tiling.strip) + 2)
    pivots, scale = found.diagonal[:n].square(), found.scale[:n]
    norm = found.inverse_norm * (1.0 if scaled else float(scale.max()))
    asymmetry = found.compared.relative if found.compared is not None else 0.0
    lost = additions * _SMALLEST / float(scale.min())  # by products of subnormal size
    gamma = additions * UNIT / (1 - additions * UNIT) + lost
    f = SAFETY * norm * n * (gamma / (1 - gamma) + asymmetry) if gamma < 1 else math.inf
    logs = 2 * UNIT * float(pivots.log().abs().sum())
    bound = _moved(f) + logs
    # independent roundings: each entry of E off by about u √c, and the trace of H⁻¹ E their weighted sum
    likely = (math.sqrt(2 * additions) * UNIT + lost + asymmetry) * norm + logs / math.sqrt(n)
    at_floor = int((pivots <= n * 2 * UNIT * scale).sum())
    basis = (
        "backward error of Cholesky times the norm of the inverse of the matrix scaled to a diagonal of "
        f"ones, estimated with 8 probes and multiplied by {SAFETY:g}"
    )
    return Rounding(bound, likely, basis, at_floor, _warning(bound, at_floor, n), f, logs)


def widened(found: Rounding, factor: float) -> Rounding:
    """Return the rounding of Cholesky with ``E`` larger by a factor."""
    assert found.distance is not None
    f = factor * found.distance
    bound = _moved(f) + found.sums
    return replace(found, bound=bound, likely=found.likely * math.sqrt(factor), distance=f)


def _moved(f: float) -> float:
    return f + f * f / (2 * (1 - f)) if f < 1 else math.inf


def pivoted_rounding(found: Determinant, n: int) -> Rounding:
    """Return the bound of a determinant by LU or LDLᵀ: eigenvalues of ``A⁻¹ E`` are at most ``distance``."""
    logs = 2 * UNIT * n * max(abs(math.log(found.smallest)), abs(math.log(found.largest)))
    bound = -n * math.log1p(-found.distance) + logs if found.distance < 1 else math.inf
    # one rounding in each entry of E: those of a sum, and of the trace, mostly cancel
    likely = found.distance / n + logs / math.sqrt(n)
    basis = "backward error by |L||U| (|L||D||Lᵀ|) times the condition number as LAPACK estimates it"
    return Rounding(bound, likely, basis, 0, _warning(bound, 0, n))


def _warning(bound: float, at_floor: int, n: int) -> str:
    if not math.isfinite(bound):
        known = "a singular matrix lies within the bound of rounding: no digit is guaranteed"
    else:
        known = f"the log-determinant is known to within {bound:.2g} nats"
    if at_floor:
        plural = "pivots are" if at_floor > 1 else "pivot is"
        return f"{at_floor} {plural} at the level of rounding (n eps times the diagonal, n = {n}); {known}."
    return "" if math.isfinite(bound) else f"{known[0].upper()}{known[1:]}."
