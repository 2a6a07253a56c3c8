"""The Levy measure behind a spectrum, by non-negative least squares on its empirical transform.

At points ``z`` above the spectrum ``z - κ₁ - F(z) = ∫G(dx)/(F(z) - x)`` is linear in ``G``. The noise of an
empirical transform at height ``η`` is known (eigenvalues repel each other, so it is ``0.75/(nη)`` at any
density), which makes ``χ²`` a test of the class, and its slack the one choice left: how smooth ``G`` is.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rmtaudit.kernels.free.empirical import Transform, empirical_stieltjes, empirical_transform
from rmtaudit.kernels.free.measure import LevyMeasure, cauchy_imaginary, cauchy_real
from rmtaudit.kernels.free.nonnegative import nonnegative_least_squares

CELLS = 160
"""A convention: cells of a measure. A fit to quarters, which is repeated, has fewer."""
REJECTED = 2.0
"""A χ² per datum above this rejects the class: sampled laws of the class reached 1.5."""
SLACKS = (0.5, 2.0, 8.0, 32.0, 128.0)
"""A convention: rises of ``χ²`` that smoothing may cost, by factors of four; validation chooses one."""
_LADDER = tuple(float(power) for power in range(-3, 14, 2))
"""A convention: powers of ten of the weight of roughness, between which the rise of ``χ²`` is
interpolated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevyFit:
    """A Levy measure, and how well it explains the spectrum.

    Attributes
    ----------
    measure
        The measure, in the units of the eigenvalues.
    chi_square
        ``χ²/n_data`` of the least smooth measure: near 1 if the law can be decompressed without end (or to
        the factor of the index), far above if not.
    n_data
        Number of data: two for each point of the transform.
    slack
        By how much ``χ²`` was let grow for smoothness, in units of twice its own mean per datum.
    positive
        Whether the measure is of the class that stays positive semidefinite at every size.
    atoms
        Number of atoms of a measure of that form; 0 for a smooth one.
    """

    measure: LevyMeasure
    chi_square: float
    n_data: int
    slack: float
    positive: bool
    atoms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LevySystem:
    """Normal equations in units of the standard deviation."""

    matrix: torch.Tensor
    target: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    mean: float
    scale: float
    n_data: int
    index: float
    positive: bool
    size: int

    def normal(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``AᵀA`` and ``Aᵀy``."""
        return self.matrix.T @ self.matrix, self.matrix.T @ self.target

    def chi_square(self, masses: torch.Tensor) -> torch.Tensor:
        """Return ``|Ax - y|²``, shape ``(...)`` of masses ``(..., K)``."""
        return ((masses @ self.matrix.T - self.target) ** 2).sum(-1)

    def measure(self, masses: torch.Tensor) -> LevyMeasure:
        """Return the measure in the units of the eigenvalues.

        A shift ``κ₁ - ∫G/x`` below the noise of the mean is none: the masses are scaled so that it is 0, and
        zeros of the large matrix are zeros.
        """
        mass = masses[: len(self.left)] * self.scale**2
        measure = LevyMeasure(
            left=self.left * self.scale,
            right=self.right * self.scale,
            mass=mass,
            mean=self.mean * self.scale,
            index=self.index,
        )
        if self.positive:
            first = measure.inverse_moments()[0]
            if abs(measure.mean - first) <= 2 * self.scale / self.size:
                return dataclasses.replace(measure, mass=mass * (measure.mean / first))
        return measure


def fit_levy(
    spectra: torch.Tensor,
    *,
    positive: bool,
    slacks: tuple[float, ...] = (8.0,),
    index: float = 0.0,
    cells: int = CELLS,
) -> tuple[LevyFit, ...]:
    """Fit the Levy measure of one spectrum, or of several samples of one size pooled; one fit a slack.

    Parameters
    ----------
    spectra
        Shape ``(n,)`` or ``(R, n)``, float64: eigenvalues of ``R`` principal blocks of size ``n``.
    positive
        Whether the matrix stays positive semidefinite at every size.
    slacks
        How far ``χ²`` may rise over its minimum for smoothness; the search of the best is
        :func:`rmtaudit.kernels.free.validation.choose`.
    index
        Reciprocal of the last factor to which the law can be decompressed; 0 for without end.
    cells
        Cells of the measure, evenly spread in ``asinh(x/scale)``.

    Raises
    ------
    ValueError
        If there are fewer than 32 eigenvalues, or they are not finite, or all alike.

    References
    ----------
    Arizmendi, Tarrago, Vargas, *Subordination methods for free deconvolution*, arXiv 1711.08871, for the
    idea of turning a free problem into a classical linear one.
    """
    return fit_many([spectra], positive=positive, slacks=slacks, index=index, cells=cells)[0]


def fit_many(
    batch: Sequence[torch.Tensor | Transform],
    *,
    positive: bool,
    slacks: tuple[float, ...] = (8.0,),
    index: float = 0.0,
    cells: int = CELLS,
) -> list[tuple[LevyFit, ...]]:
    """Fit many spectra, of any sizes, with one batch of least-squares problems; see :func:`fit_levy`."""
    systems = [levy_system(spectra, positive=positive, index=index, cells=cells) for spectra in batch]
    normal = [system.normal() for system in systems]
    gram, right = torch.stack([pair[0] for pair in normal]), torch.stack([pair[1] for pair in normal])
    rough = roughness(cells, gram.shape[-1], gram)
    tried = _tried(gram, right, rough)
    strengths, lowest = [], []
    for system, masses in zip(systems, tried, strict=True):
        chi = torch.cummax(system.chi_square(masses), 0).values
        lowest.append(float(chi[0]))
        strengths.append(_strengths(chi, slacks, system.n_data))
    final = nonnegative_least_squares(
        gram[:, None]
        + torch.tensor(strengths, dtype=gram.dtype, device=gram.device)[..., None, None] * rough,
        right[:, None].expand(-1, len(slacks), -1),
    )
    return [
        tuple(
            LevyFit(
                measure=system.measure(masses),
                chi_square=low / system.n_data,
                n_data=system.n_data,
                slack=slack,
                positive=positive,
            )
            for slack, masses in zip(slacks, group, strict=True)
        )
        for system, low, group in zip(systems, lowest, final, strict=True)
    ]


def least_smooth(given: Transform, *, positive: bool) -> LevyMeasure:
    """Return the measure with the lowest ``χ²``, hardly smoothed: the reference for all others."""
    system = levy_system(given, positive=positive)
    gram, right = system.normal()
    rough = roughness(CELLS, gram.shape[-1], gram)
    return system.measure(nonnegative_least_squares(gram + 10.0 ** _LADDER[0] * rough, right))


def smoothness(system: LevySystem, slack: float) -> torch.Tensor:
    """Return the form of roughness at the largest weight that the slack allows, shape ``(K, K)``."""
    gram, right = system.normal()
    rough = roughness(len(system.left), gram.shape[-1], gram)
    chi = system.chi_square(_tried(gram[None], right[None], rough)[0]).cummax(0).values
    return _strengths(chi, (slack,), system.n_data)[0] * rough


def _tried(gram: torch.Tensor, right: torch.Tensor, rough: torch.Tensor) -> torch.Tensor:
    ladder = torch.tensor([10.0**power for power in _LADDER], dtype=gram.dtype, device=gram.device)
    return nonnegative_least_squares(
        gram[:, None] + ladder[:, None, None] * rough, right[:, None].expand(-1, len(ladder), -1)
    )


def levy_system(
    spectra: torch.Tensor | Transform, *, positive: bool, index: float = 0.0, cells: int = CELLS
) -> LevySystem:
    """Return the least-squares problem of :func:`fit_levy`, its arguments as there."""
    given = spectra if isinstance(spectra, Transform) else empirical_transform(spectra)
    values, noise, y, n, mean = given.values, given.noise, given.y, given.size, given.mean
    left, right = _cells(values, n, positive, index, cells)
    u = given.f + index * y
    rows = [
        cauchy_real(left, right, u.real, u.imag) / noise[:, None],
        cauchy_imaginary(left, right, u.real, u.imag) / noise[:, None],
        torch.full((1, cells), n / 0.3, dtype=values.dtype, device=values.device),
    ]
    target = [y.real / noise, y.imag / noise, values.new_full((1,), n / 0.3)]
    extra = []
    if positive:
        # b + ∫G/x = κ₁ with b >= 0 an unknown of its own, 0 where 0 is an eigenvalue of the law
        width = right - left
        rows.append((torch.log(right / left) / width * (2 * n))[None])
        target.append(values.new_full((1,), mean * 2 * n))
        extra.append(2.0 * n if given.at_zero == 0 else 0.0)
        if given.at_zero > 0:
            rows.append((n / (left * right))[None])
            target.append(values.new_full((1,), (1 - given.at_zero) * n))
            extra.append(0.0)
    matrix = torch.cat(rows)
    if extra:
        column = torch.zeros(len(matrix), 1, dtype=values.dtype, device=values.device)
        column[-len(extra) :, 0] = values.new_tensor(extra)
        matrix = torch.cat([matrix, column], 1)
    return LevySystem(
        matrix=matrix,
        target=torch.cat(target),
        left=left,
        right=right,
        mean=mean,
        scale=given.scale,
        n_data=given.n_data,
        index=index,
        positive=positive,
        size=n,
    )


def _cells(
    values: torch.Tensor, n: int, positive: bool, index: float, cells: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return edges of cells over the range of ``F`` on the spectrum, fine around 0, where growth looks."""
    # beside a lone outlier F is that outlier's own: it is read three gaps further out
    around = torch.stack([values[1] - values[0], values[-1] - values[-2]])
    step = (3 * around).clamp(min=n ** (-2 / 3))
    ends = torch.stack([values[0], values[-1]]) + step * step.new_tensor([-1.0, 1.0])
    m_real, m_imaginary = empirical_stieltjes(values, ends, step)
    f_real = -m_real / (m_real**2 + m_imaginary**2)
    low, high = (f_real + index * (ends - values.mean() - f_real)).tolist()
    scale = 1 / math.sqrt(n)
    if positive:
        above = values[values > 4 * torch.finfo(torch.float64).eps * n * values[-1]]
        scale = min(scale, 1 / float((1 / above).mean()))
        low = scale / 8
    share = torch.linspace(
        math.asinh(low / scale), math.asinh(high / scale), cells + 1, dtype=values.dtype, device=values.device
    )
    edges = scale * torch.sinh(share)
    return edges[:-1], edges[1:]


def roughness(cells: int, unknowns: int, like: torch.Tensor) -> torch.Tensor:
    """Return the form of the second differences of the masses."""
    difference = torch.eye(cells, dtype=like.dtype, device=like.device).diff(dim=0).diff(dim=0)
    form = torch.zeros(unknowns, unknowns, dtype=like.dtype, device=like.device)
    form[:cells, :cells] = difference.T @ difference
    return form


def _strengths(chi: torch.Tensor, slacks: tuple[float, ...], n_data: int) -> list[float]:
    """Return for each slack the largest weight of smoothness that it allows, between those tried."""
    low = float(chi[0])
    unit = 2 * low / n_data
    rise = ((chi - low) / unit).clamp(min=1e-6).log().tolist()
    out = []
    for slack in slacks:
        aim = math.log(slack)
        power = _LADDER[-1]
        for index in range(1, len(rise)):
            if rise[index] > aim:
                share = (aim - rise[index - 1]) / max(rise[index] - rise[index - 1], 1e-12)
                power = _LADDER[index - 1] + min(max(share, 0.0), 1.0) * (_LADDER[index] - _LADDER[index - 1])
                break
        out.append(10.0**power)
    return out
