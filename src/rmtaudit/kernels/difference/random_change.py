"""Dense changes: noise, a replaced matrix, or an update with structure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.difference.moments import Moments, bands, difference_of, power_of_two
from rmtaudit.kernels.noise.sign_flip import edge_test, largest_eigenvalue, rectangle_test
from rmtaudit.kernels.noise.tracy_widom import soft_edge
from rmtaudit.kernels.noise.variance_profile import equalised_gram, sinkhorn
from rmtaudit.kernels.spectra.gram import eigenvalues, row_blocks, tall

LEAST_SIDE = 16
"""Smaller side below which a change is not judged: a noise floor needs as many eigenvalues."""

LEVEL = 1e-3
"""A p-value below it rejects noise: of a thousand layers with noise one is not called so."""

_DEVIATIONS = 4.0
_DRAWS = 4
_POWERLESS = 0.05
"""Standard deviation of the mean cosine beyond which a replacement could not be told: a convention."""

APART = 0.2
"""Correlation below which a change is no update any more: the base's share of the candidate's variance is
below 4 %. Fine-tuned models stay far above it, training apart from one start ends far below."""

_ROWS = 512
"""Rows of a sample on which units of two matrices are compared, at most."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The change is independent symmetric noise.

    Attributes
    ----------
    sigma
        Standard deviation of the noise over that of the base's entries.
    interval
        Its 95 % interval.
    p_value
        Chance that noise has as much structure.
    """

    sigma: float
    interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True, slots=True)
class Replaced:
    """Nothing of the base is seen in the candidate.

    Attributes
    ----------
    cosine
        Mean cosine of rows at the same place, rows and columns centred.
    smallest_seen
        The mean cosine that would have been seen: four standard deviations over random relabellings.
    z
        The sum of those cosines, in standard deviations over random relabellings of the rows.
    """

    cosine: float
    smallest_seen: float
    z: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseUpdate:
    """The change has structure, and of many directions.

    Attributes
    ----------
    spikes
        Singular values of the change above the edge of noise with its sizes of rows and columns; a lower
        bound on the rank of its structure.
    spike_share
        Their share of its squared norm, rows and columns scaled to equal size.
    relative_norm
        Frobenius norm of the change over that of the base.
    correlation
        Of base and candidate, entry by entry.
    row_share, column_share
        Share of the change's squared norm in the tenth of the rows (columns) that changed most.
    apart
        Whether the correlation is below :data:`APART`.
    """

    spikes: int
    spike_share: float
    relative_norm: float
    correlation: float
    row_share: float
    column_share: float
    apart: bool


def find_noise(
    base: torch.Tensor,
    candidate: torch.Tensor,
    moments: Moments,
    rounding_energy: float,
    generator: torch.Generator,
) -> Noise | DenseUpdate:
    """Return whether a dense change is noise, and its size; otherwise its structure.

    Noise has entries that are independent and symmetric about 0, whatever their sizes, so random signs
    change nothing; and it does not correlate with the base.

    Parameters
    ----------
    base, candidate
        Equal shapes, finite, not equal, smaller side at least :data:`LEAST_SIDE`.
    moments
        Of the two.
    rounding_energy
        Expected squared norm of the rounding errors within the difference.
    generator
        On the CPU.

    Raises
    ------
    ArithmeticError
        The change has no two columns that share two rows: signs mean nothing.
    """
    scale = power_of_two(moments.largest_difference)
    difference = difference_of(base, candidate, scale)
    change = tall(difference)
    profile = sinkhorn(change)
    product = equalised_gram(change, profile)
    test = rectangle_test(change, profile, product)
    n, p = profile.support
    p_value = min(1.0, 2 * test.p_value)
    if p_value >= LEVEL and not _correlates(moments):
        width = soft_edge(max(n, p), min(n, p))[1]
        largest = largest_eigenvalue(product)
        edge = edge_test(change, profile, largest, draws=_DRAWS, width=width, generator=generator)
        p_value = min(p_value, 2 * edge.p_value)
        if p_value >= LEVEL:
            fourth = scale**4 * sum(
                float(torch.linalg.vector_norm(block.square_())) ** 2 for _, block in row_blocks(change)
            )
            return _noise(moments, fourth, rounding_energy, p_value)
    return _structure(moments, difference, eigenvalues(product), (max(n, p), min(n, p)))


def _correlates(moments: Moments) -> bool:
    """Whether the change is correlated with the base, or has a mean, beyond four standard errors."""
    size = math.sqrt(moments.difference_square / moments.entries)
    along = moments.base_difference / math.sqrt(moments.base_square)
    mean = moments.difference_sum / math.sqrt(moments.entries)
    return max(abs(along), abs(mean)) > _DEVIATIONS * size


def _noise(moments: Moments, fourth: float, rounding_energy: float, p_value: float) -> Noise:
    entries, square = moments.entries, moments.difference_square
    sigma = math.sqrt(max(square - rounding_energy, 0.0) / entries)
    # The standard error of a mean square is that of its entries, whatever their law.
    deviation = math.sqrt(max(fourth - square**2 / entries, 0.0) / (entries - 1))
    error = deviation / math.sqrt(entries) / (2 * sigma) if sigma else 0.0
    scale = math.sqrt((moments.base_square - moments.base_sum**2 / entries) / (entries - 1))
    reach = 1.96 * error
    return Noise(sigma / scale, ((sigma - reach) / scale, (sigma + reach) / scale), p_value)


def _structure(
    moments: Moments, difference: torch.Tensor, values: torch.Tensor, support: tuple[int, int]
) -> DenseUpdate:
    centre, width = soft_edge(*support)
    variance = float(values.sum()) / (support[0] * support[1])
    spikes = values[values / variance > centre + 4 * width]
    product = math.sqrt(moments.base_square) * math.sqrt(moments.candidate_square)
    correlation = moments.product / product if product else 0.0
    rows, columns = [], torch.zeros(difference.shape[1], dtype=torch.float64)
    for _, block in row_blocks(difference):
        block.square_()
        rows.append(block.sum(1))
        columns += block.sum(0)
    relative = moments.relative_norm
    return DenseUpdate(
        spikes=len(spikes),
        spike_share=float(spikes.sum() / values.sum()),
        relative_norm=math.inf if relative is None else relative,
        correlation=correlation,
        row_share=_share_of_tenth(torch.cat(rows)),
        column_share=_share_of_tenth(columns),
        apart=correlation < APART,
    )


def _share_of_tenth(energy: torch.Tensor) -> float:
    most = energy.sort(descending=True).values[: max(1, len(energy) // 10)]
    return float(most.sum() / energy.sum())


def find_replaced(base: torch.Tensor, candidate: torch.Tensor) -> Replaced | None:
    """Return the evidence that nothing of the base is left; ``None`` where there is something, or no power.

    Rows at the same place must be no more alike than rows at other places, and no row or column of the
    candidate may resemble any one of the base: then its units were permuted. Entries may correlate all the
    same, where all units have something in common that their inputs impose.

    Parameters
    ----------
    base, candidate
        Equal shapes, real floating, finite, smaller side at least :data:`LEAST_SIDE`.

    References
    ----------
    Hoeffding, *A combinatorial central limit theorem*, Ann. Math. Stat. 22 (1951).
    """
    step = max(1, base.shape[0] // _ROWS)
    means = [sums / base.shape[0] for sums in _column_sums(base, candidate)]
    first, second = (
        _unit(_centred(each[::step].double(), mean))
        for each, mean in zip((base, candidate), means, strict=True)
    )
    relabelled = _relabelling(first @ second.T)
    if relabelled is None:
        return None
    cosine, deviation = relabelled
    if abs(cosine) > _DEVIATIONS * deviation or deviation > _POWERLESS:
        return None
    left, right = (_centred(each.double(), mean) for each, mean in zip((base, candidate), means, strict=True))
    for ours, theirs in ((left, right), (left.T, right.T)):
        cosines = _cosines(ours, theirs)
        if cosines is None:
            return None
        if float(cosines.abs().amax(dim=0).median()) > 2 * math.sqrt(2 * math.log(len(ours)) / ours.shape[1]):
            return None
    return Replaced(cosine, _DEVIATIONS * deviation, cosine / deviation)


def _column_sums(base: torch.Tensor, candidate: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    sums = torch.zeros(2, base.shape[1], dtype=torch.float64)
    for _, ours, theirs in bands(base, candidate):
        sums[0] += ours.sum(0)
        sums[1] += theirs.sum(0)
    return sums[0], sums[1]


def _centred(rows: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    """Return rows less the means of all columns, and then less their own."""
    moved = rows - means
    return moved - moved.mean(dim=1, keepdim=True)


def _unit(rows: torch.Tensor) -> torch.Tensor:
    unit: torch.Tensor = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-300)
    return unit


def _cosines(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor | None:
    """Return the cosines of all rows with a sample of the other's rows; ``None`` for rows too short."""
    if ours.shape[1] < LEAST_SIDE:
        return None
    sample = theirs[:: max(1, len(theirs) // 64)]
    return (_unit(ours).float() @ _unit(sample).float().T).double()


def _relabelling(cosines: torch.Tensor) -> tuple[float, float] | None:
    """Return the mean cosine at equal places above that of all places, and its standard deviation."""
    centred = cosines - cosines.mean(dim=0, keepdim=True)
    centred = centred - centred.mean(dim=1, keepdim=True)
    spread = math.sqrt(float(centred.square().sum()) / max(1, len(centred) - 1))
    return (float(centred.diagonal().mean()), spread / len(centred)) if spread else None
