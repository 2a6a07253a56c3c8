"""The transform of a spectrum at points above it, which laws are fitted to."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch

_NOISE = 0.75
"""Standard deviation of either part of ``F``, in units of ``|F|²/(nη)``: 0.5 for real matrices far above the
spacing, half as much again for the derivative that the linear fit leaves out."""
_CROWD = 8
"""A convention: eigenvalues within the width of a cell from which a point is placed at that height."""
_FEWEST_POINTS = 8
"""A convention: points of the transform that a fit needs."""
_MOST_LEVELS = 60
"""Halvings of the height: the span over ``2^60`` is below the resolution of float64."""


class ConcentratedError(ValueError):
    """The eigenvalues lie at so few places that no law can be fitted to them."""


def empirical_stieltjes(
    eigenvalues: torch.Tensor, real: torch.Tensor, height: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both parts of ``mean 1/(λ - z)`` at ``z = real + i·height``, shape ``(M,)`` each."""
    out = []
    for x, eta in zip(torch.split(real, 512), torch.split(height, 512), strict=True):
        away = eigenvalues - x[:, None]
        inverse = 1 / torch.addcmul((eta * eta)[:, None], away, away)
        out.append(((away * inverse).mean(1), eta * inverse.mean(1)))
    return torch.cat([part[0] for part in out]), torch.cat([part[1] for part in out])


def point_mass_at_zero(spectra: torch.Tensor) -> float:
    """Return the share of eigenvalues that are 0 to rounding."""
    floor = 4 * torch.finfo(torch.float64).eps * spectra.shape[-1] * float(spectra.abs().max())
    return float((spectra.abs() <= floor).double().mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """The empirical ``F = -1/m`` of a spectrum at points ``z`` above it, in units of its standard deviation.

    Attributes
    ----------
    z, f
        Shape ``(M,)``, complex128: the points, the highest first, and ``F`` there.
    noise
        Shape ``(M,)``: ``0.75 |F|²/(nη√R)`` at height ``η``, the scale of either part of a residual of the
        linear fit.
    values
        Shape ``(nR,)``: the eigenvalues, ascending, pooled.
    mean, scale
        Mean in the new unit, and the unit.
    size
        ``n``.
    at_zero
        Share of eigenvalues that are 0.
    """

    z: torch.Tensor
    f: torch.Tensor
    noise: torch.Tensor
    values: torch.Tensor
    mean: float
    scale: float
    size: int
    at_zero: float

    @property
    def y(self) -> torch.Tensor:
        """``z - κ₁ - F``, what the Levy measure has to explain."""
        return self.z - self.mean - self.f

    @property
    def n_data(self) -> int:
        """Number of data: two for each point."""
        return 2 * len(self.z)

    def highest(self, count: int) -> Transform:
        """Return the transform at its highest points alone, ``count`` at most."""
        return dataclasses.replace(self, z=self.z[:count], f=self.f[:count], noise=self.noise[:count])


def empirical_transform(spectra: torch.Tensor) -> Transform:
    """Return the transform of one spectrum, or of several samples of one size pooled.

    Parameters
    ----------
    spectra
        Shape ``(n,)`` or ``(R, n)``, float64.

    Raises
    ------
    ConcentratedError
        If the eigenvalues are all alike, or at so few places that no fit can be made.
    ValueError
        If there are fewer than 32 eigenvalues, or they are not finite.
    """
    spectra = spectra.double()
    n, samples = spectra.shape[-1], spectra.numel() // spectra.shape[-1]
    values = spectra.reshape(-1).sort().values
    if n < 32:
        raise ValueError(f"a fit needs 32 eigenvalues, not {n}")
    if not bool(torch.isfinite(values).all()):
        raise ValueError("the eigenvalues must be finite")
    scale = float(values.std(correction=0))
    if not scale > 1e-12 * float(values.abs().max()):
        raise ConcentratedError("all eigenvalues are alike: there is nothing to decompress")
    values = values / scale
    real, height = _points(values)
    if len(real) < _FEWEST_POINTS:
        raise ConcentratedError(
            "the spectrum consists of atoms: its transform has too few separate points for a fit"
        )
    m_real, m_imaginary = empirical_stieltjes(values, real, height)
    square = m_real**2 + m_imaginary**2
    return Transform(
        z=torch.complex(real, height),
        f=torch.complex(-m_real / square, m_imaginary / square),
        noise=_NOISE / (n * math.sqrt(samples) * height * square),
        values=values,
        mean=float(values.mean()),
        scale=scale,
        size=n,
        at_zero=point_mass_at_zero(spectra),
    )


def _points(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points above the spectrum: at each height ``η`` one every ``2η`` where 8 eigenvalues are near.

    The heights fall by halves until no place is crowded: a spectrum over six decades gets its points near 0
    at heights of its own.
    """
    low, span = values[0], float(values[-1] - values[0])
    distinct = torch.diff(values, prepend=values[:1] - span) > 1e-11 * span
    single = values[distinct]
    real, heights = [], []
    eta = span
    for _ in range(_MOST_LEVELS):
        place, count = torch.unique(((single - low) / (2 * eta)).floor().long(), return_counts=True)
        crowded = place[count >= _CROWD]
        if not len(crowded):
            break
        around = torch.unique(torch.cat([crowded - 1, crowded, crowded + 1])).to(values)
        real.append(low + (around + 0.5) * 2 * eta)
        heights.append(torch.full_like(real[-1], eta))
        eta /= 2
    return torch.cat(real), torch.cat(heights)
