"""How much of a covariance lies along some directions, against directions at random."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class RandomOverlap:
    """The overlap of ``k`` random orthonormal directions with a covariance.

    Attributes
    ----------
    mean
        Always 1.
    deviation
        Its standard deviation.
    """

    mean: float
    deviation: float


def overlap(covariance_along: torch.Tensor, trace: float, size: int) -> float:
    """Return the mean variance along some directions, in units of the mean over all directions.

    Parameters
    ----------
    covariance_along
        ``vᵀ S v`` of orthonormal directions ``v``, shape ``(k,)``.
    trace, size
        ``tr S``, positive, and the number of rows of ``S``.
    """
    return float(covariance_along.double().mean()) * size / trace


def random_overlap(eigenvalues: torch.Tensor, size: int, directions: int) -> RandomOverlap:
    """Return mean and standard deviation of :func:`overlap` for random directions, both exact.

    With ``P`` the projection on ``k`` directions of a Haar-distributed frame,
    ``Var tr(PS) = 2 tr(S̃²) k(p - k)/p / ((p - 1)(p + 2))``, ``S̃ = S - tr(S)/p``.

    Parameters
    ----------
    eigenvalues
        Of ``S``; zeros may be left out.
    size
        ``p``, at least 2.
    directions
        ``k``, from 1 to ``p``.

    Raises
    ------
    ValueError
        For other sizes, or eigenvalues that sum to 0.

    References
    ----------
    Second moments of the Haar measure: Collins, Śniady, *Integration with respect to the Haar measure on
    unitary, orthogonal and symplectic group*, Comm. Math. Phys. 264 (2006).

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.kernels.alignment import random_overlap
    >>> random_overlap(torch.ones(5), 5, 2).deviation  # the same variance in every direction
    0.0
    """
    values = eigenvalues.double()
    trace = float(values.sum())
    if size < 2 or not 1 <= directions <= size or len(values) > size or not trace > 0:
        raise ValueError("at least 2 features, 1 to p directions, and a positive trace are needed")
    centred = max(float(values.square().sum()) - trace**2 / size, 0.0)
    spread = directions * (size - directions) / size
    variance = 2 * centred * spread / ((size - 1) * (size + 2))
    return RandomOverlap(mean=1.0, deviation=math.sqrt(variance) * size / (directions * trace))


def share_below(
    value: float,
    eigenvalues: torch.Tensor,
    *,
    size: int,
    directions: int,
    draws: int,
    generator: torch.Generator,
) -> float:
    """Return the share of random frames whose overlap is below a value, ties counted half.

    Where few eigenvalues dominate, the overlap of random directions is skewed, and a number of standard
    deviations means less than for a normal law.

    Parameters
    ----------
    value
        An overlap.
    eigenvalues, size, directions
        As of :func:`random_overlap`.
    draws
        Number of frames.
    generator
        Of the frames; on the CPU.
    """
    diagonal = torch.zeros(size, dtype=torch.float64)
    diagonal[: len(eigenvalues)] = eigenvalues.detach().cpu().double()
    scale = size / (directions * float(diagonal.sum()))
    below = 0.0
    for _ in range(draws):
        frame = torch.randn(size, directions, dtype=torch.float64, generator=generator)
        frame, _ = torch.linalg.qr(frame)
        drawn = float(diagonal @ frame.square().sum(1)) * scale
        below += 0.5 if math.isclose(drawn, value, rel_tol=1e-9) else float(drawn < value)
    return below / draws
