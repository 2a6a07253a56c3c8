"""Growth of a Gram matrix whose rows differ in scale: free convolution power of the companion spectrum.

For ``A = WWᵀ/d`` with independent rows of different sizes a principal block is not free of the rest (its
diagonal sees the scales), but the columns are: with ``η`` the transform of ``WᵀW/d``, more rows are more free
summands. The power is at least 1, so that no information is missing: the problem is well posed.
"""

from __future__ import annotations

import torch

from rmtaudit.kernels.free.evolution import EvolvedLaw, evolve
from rmtaudit.kernels.free.measure import LevyMeasure


def companion(eigenvalues: torch.Tensor, cols: int) -> torch.Tensor:
    """Return the spectrum of ``WᵀW/d`` from that of ``WWᵀ/d``: zeros added or taken off."""
    rows = len(eigenvalues)
    if cols >= rows:
        return torch.cat([eigenvalues.new_zeros(cols - rows), eigenvalues])
    return eigenvalues.sort().values[rows - cols :]


def deformed_quantiles(eigenvalues: torch.Tensor, cols: int, factor: float, count: int) -> torch.Tensor:
    """Return quantiles of the spectrum of ``WWᵀ/d`` with ``factor`` times as many rows of the same kind.

    Parameters
    ----------
    eigenvalues
        Shape ``(n,)``, float64, not negative: of ``WWᵀ/d``, ``W`` of shape ``n x d``.
    cols
        ``d``.
    factor
        Rows of the large matrix over ``n``, at least 1.
    count
        Number of quantiles.

    Raises
    ------
    ValueError
        If the factor is below 1.

    References
    ----------
    Nica, Speicher, *On the multiplication of free N-tuples*, 1996: convolution powers at least 1 always exist
    and are compressions. Silverstein, Bai 1995 for the law of row-scaled matrices.
    """
    if factor < 1:
        raise ValueError(f"the factor must be at least 1, not {factor}")
    rows = len(eigenvalues)
    grown = companion_power(companion(eigenvalues.double(), cols), factor)
    # of cols companion eigenvalues, the large matrix keeps those above its own zeros
    large = rows * factor
    zeros = max(0.0, 1 - cols / large)
    levels = (torch.arange(count, dtype=torch.float64, device=eigenvalues.device) + 0.5) / count
    inner = 1 - (1 - levels) * large / cols
    values = grown.ppf(inner.clamp(0, 1)).clamp(min=0)
    return torch.where(levels < zeros, 0.0, values)


def companion_power(spectrum: torch.Tensor, power: float) -> EvolvedLaw:
    """Return the free convolution power ``power >= 1`` of a spectrum: compressed by ``1/power``, dilated.

    The measure of a discrete spectrum at its own size is exact: zeros of ``m`` are the atoms of ``z - F``.
    """
    exact = nevanlinna(spectrum * power)
    return evolve(exact, 1 / power)


def nevanlinna(spectrum: torch.Tensor) -> LevyMeasure:
    """Return the measure of ``z - F(z)`` of a discrete spectrum: index 1, atoms between eigenvalues.

    ``F = -1/m`` has a pole between any two neighbours, found by bisection; the residue is ``1/m'``.
    """
    values, counts = torch.unique(spectrum.double(), return_counts=True)
    weights = counts.double() / len(spectrum)
    low, high = values[:-1].clone(), values[1:].clone()
    for _ in range(60):
        middle = (low + high) / 2
        total = _sums(values, weights, middle)[0]
        # m rises from -inf after an eigenvalue to +inf before the next
        low, high = torch.where(total < 0, middle, low), torch.where(total < 0, high, middle)
    poles = (low + high) / 2
    slope = _sums(values, weights, poles)[1]
    mean = float((values * weights).sum())
    return LevyMeasure(left=poles - mean, right=poles - mean, mass=1 / slope, mean=mean, index=1.0)


def _sums(values: torch.Tensor, weights: torch.Tensor, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = [], []
    for part in torch.split(at, 512):
        inverse = 1 / (values - part[:, None])
        first.append(inverse @ weights)
        second.append((inverse * inverse) @ weights)
    return torch.cat(first), torch.cat(second)
