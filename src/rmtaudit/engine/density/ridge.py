"""The ridge log-determinant of the larger matrix, checked on real quarters of the block."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.density.blocks import Blocks
    from rmtaudit.kernels.extrapolation import Prediction
    from rmtaudit.kernels.extrapolation.functionals import Law

_MISSED = 0.05
"""Nats a dimension by which quarters of the block may miss its own log-determinant."""
_DRAWS, _FEWEST, _TESTED = 3, 32, 1024
"""A convention, as for nested scores: quarters drawn, the least of them, and the part of the block that is
used."""


def ridge_document(
    blocks: Blocks, prediction: Prediction, factor: float, ridge: float | None, generator: torch.Generator
) -> dict[str, Any]:
    """Return resolvable scale, log-determinant and effective dimension with their errors, or why not."""
    from rmtaudit.kernels.free.ridge import resolvable_scale

    values = blocks.spectra.reshape(-1)
    out: dict[str, Any] = {"ridge": ridge, "status": "skipped", "reason": "no --ridge", "r_min": None}
    if bool((values < 0).any()):
        return out | {"reason": "an eigenvalue of the block is negative"}
    # one level of law: the pooled spectrum of all blocks
    least = resolvable_scale(values, factor)
    out["r_min"] = least
    if ridge is None:
        return out
    if prediction.route == "rows":
        return out | _by_rows(prediction, ridge)
    if ridge <= least:
        return out | {
            "status": "refused",
            "reason": (
                f"blocks of order {blocks.size} do not resolve a ridge below {least:.4g} at "
                f"{factor:.4g} times their size"
            ),
        }
    return out | _freely(blocks, factor, ridge, generator)


def _freely(blocks: Blocks, factor: float, ridge: float, generator: torch.Generator) -> dict[str, Any]:
    from rmtaudit.kernels.free.ridge import resolvable_scale, ridge_log_det

    missed = _missed(blocks.matrix, ridge, generator)
    if missed is not None and missed > _MISSED:
        return {
            "status": "refused",
            "reason": f"real quarters of the block miss its own log-determinant by {missed:.3f} nats a "
            "dimension",
            "missed": missed,
        }
    estimate = ridge_log_det(blocks.spectra.reshape(-1), factor, ridge)
    each = [
        ridge_log_det(row, factor, ridge) for row in blocks.spectra if ridge > resolvable_scale(row, factor)
    ]
    untested = "" if missed is not None else ("whether the matrix is free of its coordinates was not tested")
    return {
        "status": "ok",
        "reason": untested,
        "log_det": _with_error(estimate.log_det, [one.log_det for one in each], missed),
        "effective_dimension": _with_error(
            estimate.effective_dimension, [one.effective_dimension for one in each], None
        ),
        "block_ridge": estimate.block_ridge,
        "missed": missed,
    }


def _by_rows(prediction: Prediction, ridge: float) -> dict[str, Any]:
    if prediction.law is None:
        return {"status": "refused", "reason": prediction.reason}
    centre = _of_law(prediction.law, ridge)
    drawn = [_of_law(law, ridge) for law in prediction.replicas]
    return {
        "status": "ok",
        "reason": "from the predicted law, without spikes",
        "log_det": _with_error(centre[0], [one[0] for one in drawn], None, pooled=prediction.pooled),
        "effective_dimension": _with_error(
            centre[1], [one[1] for one in drawn], None, pooled=prediction.pooled
        ),
        "block_ridge": None,
        "missed": None,
    }


def _of_law(law: Law, ridge: float) -> tuple[float, float]:
    values = law.quantiles(4000)
    return float((values + ridge).log().mean()), float((values / (values + ridge)).mean())


def _missed(matrix: torch.Tensor | None, ridge: float, generator: torch.Generator) -> float | None:
    """Return by how much quarters of the block miss its log-determinant: the mean over draws, absolute."""
    import torch

    from rmtaudit.kernels.free.ridge import resolvable_scale, ridge_log_det

    if matrix is None:
        return None
    chosen = torch.randperm(len(matrix), generator=generator)[:_TESTED]
    whole = matrix[chosen][:, chosen]
    part = len(whole) // 4
    if part < _FEWEST:
        return None
    truth = float((torch.linalg.eigvalsh(whole).clamp(min=0) + ridge).log().mean())
    errors = []
    for _ in range(_DRAWS):
        indices = torch.randperm(len(whole), generator=generator)[:part]
        block = torch.linalg.eigvalsh(whole[indices][:, indices]).clamp(min=0)
        factor = len(whole) / part
        if ridge > resolvable_scale(block, factor):
            errors.append(ridge_log_det(block, factor, ridge).log_det - truth)
    return abs(math.fsum(errors)) / len(errors) if errors else None


def _with_error(
    value: float, drawn: list[float], missed: float | None, *, pooled: bool = True
) -> dict[str, float | None]:
    """Return the value with its standard error: the spread of the draws and what nested quarters missed."""
    error = None
    if len(drawn) > 1:
        middle = math.fsum(drawn) / len(drawn)
        square = math.fsum((one - middle) ** 2 for one in drawn) / (len(drawn) - 1)
        error = math.sqrt(square / len(drawn) if pooled else square)
    if missed is not None:
        error = math.hypot(error or 0.0, missed)
    return {"value": value, "se": error}
