"""How far an edit takes a weight, with the exact spectra of the weight and of the change."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.difference.moments import moments_of
from rmtaudit.kernels.spectra.gram import gram, tall


@dataclass(frozen=True, slots=True, kw_only=True)
class Distortion:
    """How far an edited weight is from the weight.

    Attributes
    ----------
    relative_error
        Frobenius norm of the difference over that of the weight.
    spectral_error
        Largest singular value of the difference over that of the weight.
    kept
        Share of the singular directions of the weight that still stand out of the difference: those with a
        singular value above its largest one. 1 without a difference.
    """

    relative_error: float
    spectral_error: float
    kept: float


def distortion(weight: torch.Tensor, edited: torch.Tensor) -> Distortion:
    """Return how far an edit takes a weight. The share kept takes the edit's error for noise.

    Every singular value is computed, unlike in :func:`rmtaudit.kernels.difference.leading.spectral_norm`:
    the share kept is a count over all of them.

    Parameters
    ----------
    weight, edited
        Equal shapes ``(rows, cols)``, real floating dtype, finite, on the CPU.
    """
    relative = moments_of(weight, edited).relative_norm
    if relative is None:
        return Distortion(relative_error=0.0, spectral_error=0.0, kept=1.0)
    base = tall(weight)
    values = _eigenvalues(gram(base))
    largest = float(_eigenvalues(gram(tall(edited), lambda block, band: block.sub_(base[band])))[-1])
    top, rounding = float(values[-1]), max(weight.shape) * 2.0**-52
    resolved = values.sqrt() > rounding * math.sqrt(top)
    # A truncation takes away singular values of the weight itself: a tie does not stand out.
    kept = float((values > largest + rounding * top)[resolved].double().mean()) if largest else 1.0
    return Distortion(relative_error=relative, spectral_error=math.sqrt(largest / top), kept=kept)


def _eigenvalues(product: torch.Tensor) -> torch.Tensor:
    """Return the eigenvalues of a Gram matrix, ascending."""
    values: torch.Tensor = torch.linalg.eigvalsh(product)
    return values.clamp(min=0)
