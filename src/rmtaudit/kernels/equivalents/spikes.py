"""Single large eigenvalues of a population: when a sample shows them, where, and how well aligned."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rmtaudit.kernels.equivalents.population import Population
from rmtaudit.kernels.equivalents.support import outlier_map


@dataclass(frozen=True, slots=True)
class Outliers:
    """What becomes of spikes in a sample.

    Attributes
    ----------
    detached
        Whether the spike leaves the bulk, shape ``(m,)``.
    eigenvalues
        Where the sample has it, shape ``(m,)``, float64; NaN where it is not detached.
    alignment
        Squared cosine of the angle between the eigenvectors of sample and population; 0 where not detached.
    """

    detached: torch.Tensor
    eigenvalues: torch.Tensor
    alignment: torch.Tensor


def spiked_outliers(law: Population, ratio: float, spikes: torch.Tensor) -> Outliers:
    """Return what a sample shows of finitely many spikes beside a bulk.

    A spike ``ℓ`` is seen at ``ψ(ℓ) = ℓ (1 + c ∫ t dH(t)/(ℓ - t))`` if ``ψ'(ℓ) > 0``, with the alignment
    ``ℓ ψ'(ℓ)/ψ(ℓ)``. For ``H = δ₁`` that is the threshold ``1 + √c`` of Baik, Ben Arous and Péché.

    Parameters
    ----------
    law
        The bulk ``H``; the spikes have no share of it.
    ratio
        ``c = p/n``, positive.
    spikes
        Shape ``(m,)``, positive, no atoms of ``H``.

    Raises
    ------
    ValueError
        For other spikes or ratios.

    References
    ----------
    Baik, Ben Arous, Péché (2005); Paul, *Asymptotics of sample eigenstructure for a large dimensional spiked
    covariance model*, Statist. Sinica 17 (2007); Bai, Yao, *On sample eigenvalues in a generalized spiked
    population model*, J. Multivariate Anal. 106 (2012), theorem 4.1.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> noise = equivalents.population(torch.tensor([1.0]))
    >>> outliers = equivalents.spiked_outliers(noise, 0.25, torch.tensor([1.4, 3.0]))
    >>> outliers.detached.tolist(), float(outliers.eigenvalues[1])  # ℓ (1 + c/(ℓ - 1))
    ([False, True], 3.375)
    """
    at = spikes.double()
    if not ratio > 0 or not bool((at > 0).all()) or bool(torch.isin(at, law.values).any()):
        raise ValueError("spikes and ratio must be positive, and no spike an atom of the bulk")
    image, slope = outlier_map(law, ratio, at)
    detached = slope > 0
    return Outliers(
        detached=detached,
        eigenvalues=torch.where(detached, image, torch.nan),
        alignment=torch.where(detached, at * slope / image, 0.0),
    )
