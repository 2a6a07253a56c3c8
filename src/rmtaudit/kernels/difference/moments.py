"""Sums over the entries of a pair, in one pass of bands that stay in cache: no float64 copy is made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from rmtaudit.kernels.spectra.gram import row_bands


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Sums over the entries of a base ``A``, a candidate ``B`` and their difference ``D = B - A``, float64.

    Attributes
    ----------
    entries, differing
        Number of entries, and of those that differ.
    base_sum, base_absolute, difference_sum
        Of ``A``, ``|A|`` and ``D``.
    base_square, candidate_square, difference_square
        Of ``A²``, ``B²`` and ``D²``.
    product, base_difference
        Of ``AB`` and ``AD``.
    largest_difference
        The largest ``|D|``.
    """

    entries: int
    differing: int
    base_sum: float
    base_absolute: float
    difference_sum: float
    base_square: float
    candidate_square: float
    difference_square: float
    product: float
    base_difference: float
    largest_difference: float

    @property
    def relative_norm(self) -> float | None:
        """Frobenius norm of the difference over that of the base; ``None`` for a base of zeros."""
        return math.sqrt(self.difference_square / self.base_square) if self.base_square else None


def bands(base: torch.Tensor, candidate: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Yield bands of rows of both, contiguous float64; the next band overwrites them.

    Parameters
    ----------
    base, candidate
        Equal shapes ``(rows, columns)``, any real dtypes.
    """
    columns = base.shape[1]
    buffers: list[torch.Tensor] = []
    for band in row_bands(base.shape):
        height = band.stop - band.start
        if not buffers:
            buffers = [
                torch.empty(height, columns, dtype=torch.float64, device=base.device) for _ in range(2)
            ]
        ours, theirs = (
            buffer[:height].copy_(each[band]) for buffer, each in zip(buffers, (base, candidate), strict=True)
        )
        yield band, ours, theirs


def differences(base: torch.Tensor, candidate: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield bands of rows of the difference, as :func:`bands` does."""
    for band, ours, theirs in bands(base, candidate):
        yield band, theirs.sub_(ours)


def difference_of(base: torch.Tensor, candidate: torch.Tensor, scale: float) -> torch.Tensor:
    """Return the difference over a scale, rounded once to float32."""
    result = torch.empty(base.shape, dtype=torch.float32, device=base.device)
    for band, difference in differences(base, candidate):
        result[band] = difference if scale == 1 else difference.div_(scale)
    return result


def moments_of(base: torch.Tensor, candidate: torch.Tensor) -> Moments:
    """Return the moments of a pair.

    Parameters
    ----------
    base, candidate
        Equal shapes ``(rows, columns)``, real, finite.
    """
    totals = torch.zeros(8, dtype=torch.float64, device=base.device)
    differing, largest = 0, 0.0
    for _, ours, theirs in bands(base, candidate):
        A, B = ours.view(-1), theirs.view(-1)
        squares = [torch.dot(A, A), torch.dot(B, B), torch.dot(A, B), A.sum(), torch.linalg.vector_norm(A, 1)]
        D = B.sub_(A)
        totals += torch.stack([*squares, torch.dot(D, D), torch.dot(A, D), D.sum()])
        differing += int(torch.count_nonzero(D))
        largest = max(largest, *(abs(float(bound)) for bound in torch.aminmax(D)))
    sums = totals.tolist()
    return Moments(
        entries=base.numel(),
        differing=differing,
        base_square=sums[0],
        candidate_square=sums[1],
        product=sums[2],
        base_sum=sums[3],
        base_absolute=sums[4],
        difference_square=sums[5],
        base_difference=sums[6],
        difference_sum=sums[7],
        largest_difference=largest,
    )


def power_of_two(largest: float) -> float:
    """Return the power of two below a positive number: division by it is exact."""
    return math.ldexp(1.0, max(math.frexp(largest)[1] - 1, -1022)) if largest > 0 else 1.0
