"""Dense changes: noise, or an update with structure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.difference.leading import largest_eigenvalue
from rmtaudit.kernels.difference.moments import Moments, difference_of, power_of_two
from rmtaudit.kernels.difference.profiles import CONCENTRATED, even_profile
from rmtaudit.kernels.noise.sign_flip import edge_test, rectangle_test
from rmtaudit.kernels.noise.tracy_widom import sf, soft_edge
from rmtaudit.kernels.noise.variance_profile import Profile
from rmtaudit.kernels.spectra.eigenvalues import symmetric_eigenvalues
from rmtaudit.kernels.spectra.gram import gram, row_blocks, tall

LEVEL = 1e-3
"""A p-value below it rejects noise: of a thousand layers with noise one is not called so."""

_DEVIATIONS = 4.0
_DRAWS = 4
APART = 0.2
"""Correlation below which a change is no update any more: the base's share of the candidate's variance is
below 4 %. Fine-tuned models stay far above it, training apart from one start ends far below."""

_CLEARLY_NOISE = 0.1
"""p-value of the largest eigenvalue, by the law of Tracy and Widom, from which no random signs are drawn."""


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
        Probability that noise has as much structure.
    """

    sigma: float
    interval: tuple[float, float]
    p_value: float


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
    profile = even_profile(change)
    product = _equalised(change, profile)
    diagonal = product.diagonal().clone()
    test = rectangle_test(change, profile, product.fill_diagonal_(0))  # which is about the rest of it
    product.diagonal().copy_(diagonal)
    p_value = min(1.0, 2 * test.p_value)
    if p_value >= LEVEL and not _correlates(moments):
        largest = largest_eigenvalue(product)
        edge = _edge_p_value(change, profile, largest, float(diagonal.sum(dtype=torch.float64)), generator)
        p_value = min(p_value, 2 * edge)
        if p_value >= LEVEL:
            fourth = scale**4 * sum(
                float(torch.linalg.vector_norm(block.square_())) ** 2 for _, block in row_blocks(change)
            )
            return _noise(moments, fourth, rounding_energy, p_value)
    n, p = profile.support
    energies = _energies(difference)
    del difference, change
    product = product.double()
    values = torch.from_numpy(symmetric_eigenvalues(product)).clamp_(min=0)
    return _structure(moments, energies, values, (max(n, p), min(n, p)))


def _equalised(change: torch.Tensor, profile: Profile) -> torch.Tensor:
    """Return the Gram matrix of the scaled change, float32: its edge is 1e-3 of it wide."""
    rows, columns = profile.rows.float(), profile.cols.float()
    return gram(change, lambda block, band: block.mul_(rows[band, None]).mul_(columns), dtype=torch.float32)


def _edge_p_value(
    change: torch.Tensor, profile: Profile, largest: float, trace: float, generator: torch.Generator
) -> float:
    """Return the probability that noise with these sizes of entries has as large a largest eigenvalue.

    Rows and columns have equal sizes, so the edge is that of Marchenko and Pastur whatever the sizes of the
    entries are, and the law at it that of Tracy and Widom. Where the largest eigenvalue is far from
    significant by them, they are the answer. Otherwise, and where single entries may outweigh the edge,
    random signs give it.

    References
    ----------
    Alt, Erdős, Krüger, *Local law for random Gram matrices*, Electron. J. Probab. 22 (2017), for the edge.
    """
    n, p = max(profile.support), min(profile.support)
    centre, width = soft_edge(n, p)
    scaled = (largest * n * p / trace - centre) / width
    p_value = sf(scaled)
    if p_value >= _CLEARLY_NOISE and not _is_concentrated(change, profile, centre * trace / (n * p)):
        return p_value
    return edge_test(change, profile, largest, draws=_DRAWS, width=width, generator=generator).p_value


def _is_concentrated(change: torch.Tensor, profile: Profile, edge: float) -> bool:
    """Whether the square of a scaled entry is a tenth of the edge or more."""
    rows, columns = profile.rows.float(), profile.cols.float()
    return any(
        float(block.mul_(rows[band, None]).mul_(columns).abs_().max()) ** 2 > CONCENTRATED * edge
        for band, block in row_blocks(change, torch.float32)
    )


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


def _energies(difference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sums of squares of the rows and of the columns, float64."""
    rows = []
    columns = torch.zeros(difference.shape[1], dtype=torch.float64, device=difference.device)
    for _, block in row_blocks(difference):
        block.square_()
        rows.append(block.sum(1))
        columns += block.sum(0)
    return torch.cat(rows), columns


def _structure(
    moments: Moments,
    energies: tuple[torch.Tensor, torch.Tensor],
    values: torch.Tensor,
    support: tuple[int, int],
) -> DenseUpdate:
    centre, width = soft_edge(*support)
    variance = float(values.sum()) / (support[0] * support[1])
    spikes = values[values / variance > centre + 4 * width]
    product = math.sqrt(moments.base_square) * math.sqrt(moments.candidate_square)
    correlation = moments.product / product if product else 0.0
    relative = moments.relative_norm
    return DenseUpdate(
        spikes=len(spikes),
        spike_share=float(spikes.sum() / values.sum()),
        relative_norm=math.inf if relative is None else relative,
        correlation=correlation,
        row_share=_share_of_tenth(energies[0]),
        column_share=_share_of_tenth(energies[1]),
        apart=correlation < APART,
    )


def _share_of_tenth(energy: torch.Tensor) -> float:
    most = energy.sort(descending=True).values[: max(1, len(energy) // 10)]
    return float(most.sum() / energy.sum())
