"""The weights of the hidden units of one layer, and how alike those of two models are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmtaudit.engine.pairs.units import Side, Units

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.relation import UnitScores

_MOST_UNITS, _MOST_FEATURES = 1024, 2048
"""Evenly spaced units and weights that are compared where there are more: a subset chosen by place keeps the
test exact, and detects mean cosines of .003."""

_KEPT_QUANTILE = 0.9


def arranged(matrix: torch.Tensor, units: Units) -> torch.Tensor:
    """Return the weights of each unit of a layer, an even subset of both where there are many.

    Parameters
    ----------
    matrix
        Shape ``(rows, columns * kernel)``.
    units
        What is relabelled.

    Returns
    -------
    torch.Tensor
        Shape ``(strata, units, features)``, float32; for rows and columns together ``(kernel, units,
        units)``.
    """
    rows = matrix.shape[0]
    columns = matrix.shape[1] // units.kernel
    weights = matrix.float().reshape(rows, columns, units.kernel)
    if units.side is Side.BOTH:
        kept = _even(units.count, _MOST_UNITS)
        return weights[kept][:, kept].permute(2, 0, 1).contiguous()
    if units.side is Side.COLUMNS:
        weights = weights.transpose(0, 1)
    flat = weights.reshape(units.count // units.block, units.block, -1)
    strata = _even(len(flat), max(1, _MOST_UNITS // units.block))
    features = _even(flat.shape[2], _MOST_FEATURES)
    return flat[strata][:, _even(units.block, _MOST_UNITS)][:, :, features]


def _even(count: int, most: int) -> slice:
    return slice(None, None, -(-count // most))


def scores_of(first: torch.Tensor, second: torch.Tensor, units: Units) -> UnitScores:
    """Return the scores of a layer from the weights of its units, as :func:`arranged` returns them."""
    from rmtaudit.kernels.relation import unit_cosines, unit_scores

    if units.side is not Side.BOTH:
        return unit_scores(unit_cosines(first, second))
    rows = []
    for weights in (first, second):
        norms = weights.double().square().sum(dim=(0, 2)).sqrt()
        rows.append(weights.double() / norms.clamp_min(1e-300)[None, :, None])
    n = first.shape[1]
    return unit_scores(rows[0].new_zeros((1, n, n)), *rows)


def kept_cosine(base: torch.Tensor, candidate: torch.Tensor) -> float:
    """Return the cosine that a tenth of the rows exceeds, or of the columns: the larger."""
    from torch.nn.functional import cosine_similarity

    rows, columns = (_even(size, _MOST_UNITS) for size in base.shape)
    first, second = base[rows][:, columns].float(), candidate[rows][:, columns].float()
    return max(
        float(cosine_similarity(first, second, dim=side).quantile(_KEPT_QUANTILE))
        for side in (0, 1)
        if first.shape[side] > 1
    )


def slopes(first: torch.Tensor, second: torch.Tensor) -> tuple[float, float]:
    """Return the slopes of the regression of the second on the first, and of the first on the second."""
    product = float((first.double() * second.double()).sum())
    squares = (float(each.double().square().sum()) for each in (first, second))
    one, other = (product / square if square > 0 else 0.0 for square in squares)
    return one, other


def is_constant(matrix: torch.Tensor) -> bool:
    """Whether a matrix is a constant of the architecture: a mask, a filter bank, a table of positions."""
    import torch

    from rmtaudit.kernels.constants import recognise_constant

    values = matrix.float()
    epsilon = torch.finfo(matrix.dtype).eps if matrix.dtype.is_floating_point else 2.0**-23
    return recognise_constant(values, epsilon) is not None
