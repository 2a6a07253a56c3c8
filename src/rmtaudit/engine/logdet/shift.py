"""From ``log det (A + t I)``, which can be factored, back to ``log det A``.

With ``x_i = t / (λ_i + t)``, each eigenvalue gives ``log λ_i = log (λ_i + t) + log (1 - x_i)``: to first
order ``- x_i``, whose sum is ``- t tr (A + t I)⁻¹``, and beyond that at most ``x_i² / (2 (1 - x_i))`` less.
All of that is known of the shifted matrix alone, and ``Σ x_i² < 1`` proves ``A`` positive definite.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from rmtaudit.engine.logdet.result import ExactLogdet, ShiftCorrection, Status
from rmtaudit.engine.logdet.rounding import SAFETY

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.logdet.cholesky import TileCholesky


def corrected(found: ExactLogdet, work: TileCholesky, shift: float) -> ExactLogdet:
    """Return the result of ``A`` from that of ``A + t I``."""
    assert found.logdet is not None
    exact = work.inverse() if found.in_core else None
    if exact is None:
        trace, error = work.result.inverse_trace
        norm = SAFETY * work.result.inverse_norm
    else:
        trace, norm, error = float(exact.diagonal().sum()), _norm(exact), 0.0
    x = shift * norm
    remainder = x * x / (2 * (1 - x)) if x < 1 else math.inf
    correction = ShiftCorrection(shift, found.logdet, -shift * trace, shift * error, remainder)
    if math.isfinite(remainder):
        return replace(found, logdet=found.logdet + correction.correction, shift=correction)
    return replace(
        found,
        status=Status.UNDETERMINED,
        logdet=None,
        sign=None,
        negative=None,
        shift=correction,
        reason="the shift is not small beside the smallest eigenvalue, if that is positive at all: only the "
        "log-determinant of the shifted matrix is known",
    )


def _norm(lower: torch.Tensor) -> float:
    """Return the Frobenius norm of the symmetric matrix in a lower triangle."""
    total = 0.0
    for row, values in enumerate(lower):
        total += 2 * float(values[:row].square().sum()) + float(values[row]) ** 2  # no second matrix
    return math.sqrt(total)
