"""How localised the eigenvectors of a layer are, in the bulk and in the tail, as in WeightWatcher 0.7.7."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

MEASURES = ("vec_entropy", "loc_ratio", "part_ratio")
"""Discrete entropy of the sizes of the entries; ``‖v‖₁/‖v‖_∞``; ``‖v‖₂/‖v‖₄``."""

# As in WeightWatcher 0.7.7.
_BINS = 100
_EPSILON = 1e-10


def localisation(matrices: Iterable[torch.Tensor], tail_size: int) -> dict[str, float]:
    """Return mean and variance of three measures over the eigenvectors of the tail and of the bulk.

    Parameters
    ----------
    matrices
        Each 2-D, floating. The vectors are those of the Gram matrix of the smaller side, of unit length.
    tail_size
        Number of eigenvalues in the tail: the largest ones of all matrices together. The others are the bulk.

    Returns
    -------
    dict
        ``{bulk,tail}_{mean,var}_{vec_entropy,loc_ratio,part_ratio}``; a side without eigenvectors is left
        out. Variances are those of a population.

    Notes
    -----
    The peer separates the sides by comparing the eigenvalues of a second solver with ``xmin``, itself one
    of the eigenvalues: rounding decides on which side its vector falls. Here it is in the tail, always.
    Where eigenvalues repeat, the eigenvectors, and so these numbers, are not determined.
    """
    eigenvalues: list[NDArray[np.float64]] = []
    measured: list[NDArray[np.float64]] = []
    for matrix in matrices:
        wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        exact = wide.detach().to(torch.float64)
        values, vectors = torch.linalg.eigh(exact @ exact.T)
        eigenvalues.append(values.cpu().numpy())
        measured.append(_measure(vectors.abs().cpu().numpy()))
    order = np.argsort(np.concatenate(eigenvalues), kind="stable")
    table = np.concatenate(measured, axis=1)[:, order]
    border = order.size - tail_size
    result = {}
    for side, part in (("bulk", table[:, :border]), ("tail", table[:, border:])):
        if part.size:
            for name, row in zip(MEASURES, part, strict=True):
                result[f"{side}_mean_{name}"] = float(row.mean())
                result[f"{side}_var_{name}"] = float(row.var())
    return result


def _measure(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the measures, one row each, of the columns of ``sizes`` (absolute values of unit vectors)."""
    return np.stack(
        [
            np.array([_entropy(column) for column in sizes.T]),
            sizes.sum(axis=0) / sizes.max(axis=0),
            np.sqrt((sizes**2).sum(axis=0)) / (sizes**4).sum(axis=0) ** 0.25,
        ]
    )


def _entropy(sizes: NDArray[np.float64]) -> float:
    density = np.histogram(sizes - sizes.mean(), bins=_BINS, density=True)[0] + _EPSILON
    share = density / density.sum()
    return float(-(share * np.log(share)).sum())
