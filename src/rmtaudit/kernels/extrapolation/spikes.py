"""Outliers of a Gram matrix: which are directions that all vectors share, and where those go as it grows.

A vector longer than the rest makes an outlier too, but one that sits on its own coordinate: it is part of
the bulk's law of sizes. What tells the two apart is how many coordinates the eigenvector is spread over.
"""

from __future__ import annotations

import torch

from rmtaudit.kernels.extrapolation.functionals import Law
from rmtaudit.kernels.free.decompression import take_spikes

_SPREAD = 1 / 16
"""An even Gaussian vector has a participation of a third of its length; a single row, of one."""


def shared_spikes(matrix: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Return the eigenvalues of a Gram matrix, and which of them are outliers spread over many vectors.

    Parameters
    ----------
    matrix
        Shape ``(n, n)``, float64, symmetric.

    Returns
    -------
    tuple
        Ascending eigenvalues, shape ``(n,)``, zeros cleaned of rounding; positions counted from the largest,
        which is 0.
    """
    n = len(matrix)
    values = cleaned(torch.linalg.eigvalsh(matrix)[None])[0]
    count = len(take_spikes(values[None])[1])
    if not count:
        return values, ()
    vectors = torch.linalg.eigh(matrix).eigenvectors[:, n - count :].flip(1)
    participation = 1 / (vectors**4).sum(0)
    return values, tuple(torch.nonzero(participation >= _SPREAD * n).flatten().tolist())


def deflated(matrix: torch.Tensor) -> torch.Tensor:
    """Return a Gram matrix without the outliers of :func:`shared_spikes`."""
    places = shared_spikes(matrix)[1]
    if not places:
        return matrix
    values, vectors = torch.linalg.eigh(matrix)
    largest = [len(matrix) - 1 - place for place in places]
    outliers: torch.Tensor = (vectors[:, largest] * values[largest]) @ vectors[:, largest].T
    return matrix - outliers


def without(rows: torch.Tensor, places: tuple[int, ...]) -> torch.Tensor:
    """Return ascending spectra, shape ``(R, n)``, without the positions counted from the largest."""
    if not places:
        return rows
    kept = torch.ones(rows.shape[-1], dtype=torch.bool)
    kept[[rows.shape[-1] - 1 - place for place in places]] = False
    return rows[..., kept]


def cleaned(rows: torch.Tensor) -> torch.Tensor:
    """Return ascending eigenvalues of Gram matrices without the rounding of those that are 0."""
    rounding = 1e-14 * rows.shape[-1] * rows[..., -1:].clamp(min=0)
    return torch.where(rows <= rounding, 0.0, rows)


def carried(bulk: torch.Tensor, law: Law, dimension: int, factor: float, value: float) -> float | None:
    """Return where an outlier goes if its two singular vectors are spread evenly; ``None`` if into the bulk.

    ``λ m(λ) m̃(λ) = 1/θ²`` with the transforms of the two Gram matrices; ``θ²`` grows with the vectors.

    Parameters
    ----------
    bulk
        Shape ``(n,)``, ascending: the block's spectrum without it.
    law
        Of the larger matrix.
    dimension
        Entries of a vector.
    factor
        ``N/n``.
    value
        The outlier.

    References
    ----------
    Benaych-Georges, Nadakuditi, *The singular values and vectors of low rank perturbations of large
    rectangular random matrices*, 2012, theorem 2.8.
    """
    if value <= float(bulk[-1]):
        return None
    share = len(bulk) / dimension
    strength = _product(bulk, share, value) / factor
    large = law.quantiles(4000)
    share *= factor
    low, high = float(large[-1]) * (1 + 1e-9), 2 * factor * value
    if _product(large, share, low) < strength:
        return None
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _product(large, share, middle) > strength else (low, middle)
    return high


def _product(eigenvalues: torch.Tensor, share: float, at: float) -> float:
    transform = float((1 / (at - eigenvalues)).mean())
    return at * transform * (share * transform + (1 - share) / at)
