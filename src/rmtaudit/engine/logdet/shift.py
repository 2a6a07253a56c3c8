"""From ``log det (A + t I)``, which can be factored, back to ``log det A``.

With ``x_i = t / (λ_i + t)``, each eigenvalue gives ``log λ_i = log (λ_i + t) + log (1 - x_i)``: to first
order ``- x_i``, whose sum is ``- t tr (A + t I)⁻¹``, and beyond that at most ``x_i² / (2 (1 - x_i))`` less.
All of that is known of the shifted matrix alone, and ``Σ x_i² < 1`` proves ``A`` positive definite.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.logdet.margins import PROBE_SAFETY

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.logdet.cholesky import TileCholesky


def without_shift(work: TileCholesky, logdet: float, shift: float) -> dict[str, Any]:
    """Return what the factor of ``A + t I`` tells about ``A``, as evidence; the factor is destroyed in core.

    Parameters
    ----------
    work
        The factorisation, complete and without scaled probes.
    logdet
        ``log det (A + t I)``, in nats.
    shift
        ``t``.

    Returns
    -------
    dict
        ``logdet`` is the corrected value, ``correction`` is ``- t tr (A + t I)⁻¹``, ``standard_error`` that
        of the correction (0 where the trace is exact, in core), and ``at_most_lower_by`` a bound of what
        higher orders can add: ``log det A`` lies at most this much below the corrected value. Where ``A`` may
        be indefinite, there is no corrected value, and a ``reason``.
    """
    if work.tiling.in_core:
        inverse = work.inverse()
        trace, norm, error = float(inverse.diagonal().sum()), _norm(inverse), 0.0
    else:
        trace, error = work.result.inverse_trace
        norm = PROBE_SAFETY * work.result.inverse_norm
    x = shift * norm
    remainder = x * x / (2 * (1 - x)) if x < 1 else math.inf
    known = math.isfinite(remainder)
    return {
        "shift": shift,
        "logdet": logdet - shift * trace if known else None,
        "correction": -shift * trace,
        "standard_error": shift * error,
        "at_most_lower_by": remainder if known else None,
        "reason": ""
        if known
        else "the shift is not small compared with the smallest eigenvalue of the matrix",
    }


def _norm(lower: torch.Tensor) -> float:
    """Return the Frobenius norm of the symmetric matrix in a lower triangle."""
    total = 0.0
    for row, values in enumerate(lower):
        total += 2 * float(values[:row].square().sum()) + float(values[row]) ** 2  # no second matrix
    return math.sqrt(total)
