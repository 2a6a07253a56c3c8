"""Where the spectrum of a sample covariance lies: edges from critical points, and the mass of each band.

With ``u = -1/v`` Silverstein's equation reads ``x = ψ(u) = u (1 + c ∫ t dH(t)/(u - t))``. A real ``x`` is
outside the support where some real ``u`` has ``ψ(u) = x`` and ``ψ'(u) > 0``, where
``ψ'(u) = 1 - c ∫ t² dH(t)/(u - t)²``. Between neighbouring atoms of ``H`` the integral
is convex: it is below 1 on one interval or nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rmtaudit.kernels.equivalents.population import Population

_HALVINGS = 100
"""Halvings of an interval: more than the bits of float64."""


@dataclass(frozen=True, slots=True)
class Band:
    """An interval of the support.

    Attributes
    ----------
    low, high
        Its ends.
    mass
        Share of the eigenvalues of the ``p x p`` matrix.
    """

    low: float
    high: float
    mass: float


def outlier_map(law: Population, ratio: float, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``ψ(u)`` and ``ψ'(u)``, shapes ``(m,)``, at real ``u`` that are no atoms of the population."""
    far = at[:, None] - law.values
    image = at * (1 + ratio * ((law.values / far) @ law.weights))
    return image, 1 - ratio * ((law.values / far).square() @ law.weights)


def support_bands(law: Population, ratio: float) -> tuple[Band, ...]:
    """Return the bands of the support above 0, from the lowest.

    The mass at 0 is ``max(H({0}), 1 - 1/c)`` and no band.

    Parameters
    ----------
    law
        The spectrum ``H`` of the population.
    ratio
        ``c = p/n``, positive.

    Raises
    ------
    ValueError
        For a ratio that is not positive.

    References
    ----------
    Silverstein, Choi (1995), theorems 4.1 and 4.2; Bai, Silverstein, *Exact separation of eigenvalues of
    large dimensional sample covariance matrices*, Ann. Probab. 27 (1999), for the masses.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> bands = equivalents.support_bands(equivalents.population(torch.tensor([1.0, 3.0, 7.0])), 0.1)
    >>> [(round(band.low, 3), round(band.high, 3)) for band in bands]
    [(0.6, 1.285), (1.936, 3.999), (4.928, 9.984)]
    """
    if not 0 < ratio < torch.inf:
        raise ValueError(f"the ratio must be positive and finite, not {ratio}")
    above = law.values > 0
    values, weights = law.values[above], law.weights[above]
    positive = Population(values, weights)
    ends = [float(_image(positive, ratio, _lowest(positive, ratio)))]
    masses: list[float] = []
    held = 1 - max(1 - float(weights.sum()), 1 - 1 / ratio, 0.0)
    for left, right, below in _gaps(positive, ratio):
        ends += [left, right]
        # exact separation: as many eigenvalues above a gap as the population has
        masses.append(held - float(weights[below:].sum()))
        held = float(weights[below:].sum())
    ends.append(float(_image(positive, ratio, _highest(positive, ratio))))
    masses.append(held)
    return tuple(
        Band(max(low, 0.0), high, mass) for low, high, mass in zip(ends[::2], ends[1::2], masses, strict=True)
    )


def _gaps(law: Population, ratio: float) -> list[tuple[float, float, int]]:
    """Return the gaps between bands: both ends, and the number of atoms below."""
    values = law.values
    if len(values) < 2:
        return []
    # two neighbours alone often leave no gap: between them each term is above its value at the other one
    near = law.weights * values.square()
    open_ = ratio * torch.maximum(near[:-1], near[1:]) < values.diff().square()
    before = torch.nonzero(open_)[:, 0]
    low, high = values[before].clone(), values[before + 1].clone()
    for _ in range(_HALVINGS):  # the minimum of the convex integral: its derivative rises
        middle = (low + high) / 2
        rising = _slope_of_integral(law, middle) > 0
        low, high = torch.where(rising, low, middle), torch.where(rising, middle, high)
    bottom = (low + high) / 2
    inside = (bottom > values[before]) & (bottom < values[before + 1])
    inside[inside.clone()] = _integral(law, ratio, bottom[inside]) < 1
    index, bottom = before[inside], bottom[inside]
    if not len(index):
        return []
    left = _crossing(law, ratio, values[index], bottom, falling=True)
    right = _crossing(law, ratio, bottom, values[index + 1], falling=False)
    starts, stops = outlier_map(law, ratio, left)[0], outlier_map(law, ratio, right)[0]
    rows = zip(starts.tolist(), stops.tolist(), (index + 1).tolist(), strict=True)
    return [(start, stop, below) for start, stop, below in rows if stop > start]


def _crossing(
    law: Population, ratio: float, low: torch.Tensor, high: torch.Tensor, *, falling: bool
) -> torch.Tensor:
    """Return where the integral passes 1, on the side of the gap, where it is below."""
    low, high = low.clone(), high.clone()
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = _integral(law, ratio, middle) >= 1
        first = above if falling else ~above
        low, high = torch.where(first, middle, low), torch.where(first, high, middle)
    return high if falling else low


def _integral(law: Population, ratio: float, at: torch.Tensor) -> torch.Tensor:
    return ratio * ((law.values / (at[:, None] - law.values)).square() @ law.weights)


def _slope_of_integral(law: Population, at: torch.Tensor) -> torch.Tensor:
    return -((law.values.square() / (at[:, None] - law.values) ** 3) @ law.weights)


def _image(law: Population, ratio: float, at: torch.Tensor) -> torch.Tensor:
    return outlier_map(law, ratio, at)[0][0]


def _highest(law: Population, ratio: float) -> torch.Tensor:
    top = law.values[-1:]
    return _crossing(law, ratio, top, top * (1 + ratio**0.5) * 1.0000001, falling=True)


def _lowest(law: Population, ratio: float) -> torch.Tensor:
    bottom = law.values[:1]
    reach = float(law.values[-1]) * (1 + ratio**0.5)  # where the integral is below 1
    return _crossing(law, ratio, torch.full_like(bottom, -reach), bottom, falling=False)
