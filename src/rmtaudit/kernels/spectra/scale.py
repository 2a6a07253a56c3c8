"""Size and shape of a spectrum: norms, ranks, entropy, condition number.

Eigenvalues are those of ``WᵀW``: tensors of shape ``(n,)``, float64, never negative, in (weight units)².
Ratios are taken after dividing by the largest, so that sums neither over- nor underflow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from rmtaudit.kernels.spectra.spectrum import Spectrum


def spectral_norm(eigenvalues: torch.Tensor) -> float:
    """Return ``σ₁ = sqrt(max λ)``, in weight units; for pooled matrices, the greatest of theirs."""
    return math.sqrt(float(eigenvalues.max()))


def frobenius_norm(eigenvalues: torch.Tensor) -> float:
    """Return ``sqrt(Σλ)``, the root of the sum of the squared entries, in weight units."""
    largest = float(eigenvalues.max())
    return math.sqrt(largest) * math.sqrt(float((eigenvalues / largest).sum())) if largest else 0.0


def stable_rank(eigenvalues: torch.Tensor) -> float:
    """Return ``Σλ/max λ = (‖W‖_F/σ₁)²``, between 1 and ``n``.

    Raises
    ------
    ValueError
        If all eigenvalues are zero.

    References
    ----------
    Rudelson, Vershynin, *Sampling from large matrices*, J. ACM 54 (2007), where it is called numerical rank.
    """
    return float(_relative(eigenvalues).sum())


def spectral_entropy(eigenvalues: torch.Tensor) -> float:
    """Return the Shannon entropy ``-Σ p log p`` of ``p = λ/Σλ``, in nats, between 0 and ``log n``.

    A zero eigenvalue contributes nothing. Divide by ``log n`` for the entropy on a scale from 0 to 1.

    Raises
    ------
    ValueError
        If all eigenvalues are zero.
    """
    relative = _relative(eigenvalues)
    return float(torch.special.entr(relative / relative.sum()).sum())


def effective_rank(eigenvalues: torch.Tensor) -> float:
    """Return ``exp(entropy)``: how many equal eigenvalues have the same entropy; between 1 and ``n``.

    Raises
    ------
    ValueError
        If all eigenvalues are zero.

    References
    ----------
    Roy, Vetterli, *The effective rank*, EUSIPCO 2007, with ``λ`` for their ``σ``.
    """
    return math.exp(spectral_entropy(eigenvalues))


def condition_number(spectrum: Spectrum) -> float | None:
    """Return ``σ₁/σ_min``, the greatest over pooled matrices; ``None`` if some ``σ_min`` is unresolved."""
    parts = spectrum.parts or (spectrum,)
    if any(part.unresolved for part in parts):
        return None
    each = [part.eigenvalues for part in parts]
    return max(math.sqrt(float(values.max())) / math.sqrt(float(values.min())) for values in each)


def condition_bound(spectrum: Spectrum) -> float:
    """Return a lower bound of ``σ₁/σ_min`` where ``σ_min`` is unresolved: ``max sqrt(max λ/floor)``.

    Infinite for a matrix whose floor is 0, as of a zero matrix.
    """
    unresolved = [part for part in spectrum.parts or (spectrum,) if part.unresolved]
    return max(
        spectral_norm(part.eigenvalues) / math.sqrt(part.floor) if part.floor else math.inf
        for part in unresolved
    )


def numerical_rank(spectrum: Spectrum, *, epsilon: float, smallest_normal: float = 0.0) -> int:
    r"""Return how many singular values the stored precision can tell from zero, summed over pooled matrices.

    The stored matrix is ``W + E``. Rounding changes an entry by at most
    ``epsilon max(|w|, smallest_normal)``, with a root mean square of at most
    ``s = epsilon/√3 · sqrt(rms(W)² + smallest_normal²)``. If ``W`` has rank ``r``, the singular values of
    ``W + E`` after the ``r``-th are those of ``E`` between the null spaces: a random matrix of ``rows - r``
    by ``cols - r``, whose norm is near ``s (√(rows - r) + √(cols - r))``. The entries of a ``W`` of low rank
    are uneven in size, and so is its noise: with Gaussian factors, its longest row or column exceeds the root
    mean square by a factor of up to ``h(r) = 1 + √(2 log(max(rows, cols))/r)``. The rank is the least
    ``r >= 1`` with

    .. math:: σ_{r+1} ≤ \max(s · h(r) · (\sqrt{rows - r} + \sqrt{cols - r}), \sqrt{floor}).

    Parameters
    ----------
    spectrum
        Its resolution ``floor`` bounds what the rank can see; unresolved eigenvalues never count.
    epsilon
        Unit round-off of the dtype that the matrix was stored in (``2**-24`` for float32).
    smallest_normal
        Smallest normal number of that dtype: below it the rounding error no longer shrinks with the entry.

    References
    ----------
    Davidson, Szarek, *Local operator theory, random matrices and Banach spaces* (2001), theorem II.13 (norm
    of a Gaussian matrix); Bandeira, van Handel, Ann. Probab. 44 (2016), theorem 1.1 (uneven entries).
    """
    parts = spectrum.parts or (spectrum,)
    return sum(_rank(part, epsilon, smallest_normal) for part in parts)


def _rank(spectrum: Spectrum, epsilon: float, smallest_normal: float) -> int:
    values = spectrum.eigenvalues.flip(0)
    n = len(values)
    if not values[0] > 0:
        return 0
    rows, cols = spectrum.rows, spectrum.cols
    rms = frobenius_norm(values) / math.sqrt(rows * cols)
    noise = epsilon / math.sqrt(3) * math.hypot(rms, smallest_normal)
    spread = 2 * math.log(max(rows, cols))
    widest = noise * (1 + math.sqrt(spread)) * (math.sqrt(rows - 1) + math.sqrt(cols - 1))
    if math.sqrt(float(values[-1])) > max(widest, math.sqrt(spectrum.floor)):
        return n  # the tolerance falls with the rank, from this one
    rank = torch.arange(1, n, dtype=torch.float64)
    uneven = 1 + torch.sqrt(spread / rank)
    tolerance = noise * uneven * (torch.sqrt(rows - rank) + torch.sqrt(cols - rank))
    hidden = values[1:].sqrt() <= tolerance.clamp_min(math.sqrt(spectrum.floor))
    return int(hidden.to(torch.int8).argmax()) + 1 if bool(hidden.any()) else n


def _relative(eigenvalues: torch.Tensor) -> torch.Tensor:
    largest = eigenvalues.max()
    if not largest > 0:
        raise ValueError("all eigenvalues are zero")
    return eigenvalues / largest
