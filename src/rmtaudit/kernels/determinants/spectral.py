"""Log-determinant of ``WᵀW`` from its eigenvalues, with the bounds that their resolution floor implies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmtaudit.kernels.spectra.spectrum import Spectrum


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralDeterminant:
    """Sum of the logarithms of the eigenvalues that are resolved.

    Attributes
    ----------
    logdet
        ``Σ log λ`` over them, in nats; 0 where there is none.
    low, high
        Bounds: each eigenvalue is off by at most the floor of its matrix. ``low`` may be ``-inf``.
    rank
        How many they are.
    unresolved
        How many are left out: known to lie between 0 and the floor, and nothing more.
    """

    logdet: float
    low: float
    high: float
    rank: int
    unresolved: int


def spectral_log_determinant(spectrum: Spectrum) -> SpectralDeterminant:
    """Return the log-pseudo-determinant of a spectrum: the log-determinant, if nothing is unresolved.

    Of pooled matrices the sum of theirs: that of the block-diagonal matrix of their Gram matrices.
    """
    import torch

    parts = spectrum.parts or (spectrum,)
    logdet, low, high = [], [], []
    for part in parts:
        values = part.resolved
        if not len(values):
            continue
        relative = part.floor / values
        logdet += values.log().tolist()
        # log(λ ± floor) = log λ + log1p(± floor/λ); resolved values are above the floor
        low += (values.log() + torch.log1p(-relative)).tolist()
        high += (values.log() + torch.log1p(relative)).tolist()
    # of the logarithms themselves: half an ulp each
    rounding = 2.0**-52 * math.fsum(abs(each) for each in logdet)
    return SpectralDeterminant(
        logdet=math.fsum(logdet),
        low=math.fsum(low) - rounding,
        high=math.fsum(high) + rounding,
        rank=len(logdet),
        unresolved=spectrum.unresolved,
    )
