"""The law of a Gram matrix of more vectors of the same kind, in a space of known dimension.

``WWᵀ`` with rows of different sizes is not free from its coordinates, but its rows are free of each other:
the companion ``WᵀW`` of ``τ`` times as many is a free convolution power, which is well posed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rmtaudit.kernels.free.deformed import companion, nevanlinna
from rmtaudit.kernels.free.evolution import EvolvedLaw, evolve


@dataclass(frozen=True, slots=True)
class GrownGram:
    """The law of the Gram matrix of ``share`` times as many vectors as their space has dimensions.

    Attributes
    ----------
    companion
        Law of the Gram matrix of the other side, whose order is the dimension.
    share
        Vectors over dimensions.
    """

    companion: EvolvedLaw
    share: float

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        """The atom at 0: vectors beyond the dimension, and those that depend on others."""
        zeros = 1 - (1 - _mass_at_zero(self.companion)) / self.share
        return ((0.0, zeros),) if zeros > 1e-9 else ()

    @property
    def edges(self) -> tuple[tuple[float, float], ...]:
        """Ends of the intervals of the continuous part."""
        return tuple((max(low, 0.0), high) for low, high in self.companion.edges if high > 1e-9 * self._top)

    @property
    def mass(self) -> float:
        """Mass of the companion by quadrature: 1 if all is well."""
        return self.companion.mass

    def pdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the density of the continuous part at ``x``."""
        return torch.where(x > 0, self.companion.pdf(x) / self.share, 0.0)

    def cdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mass at or below ``x``."""
        inside = 1 - (1 - self.companion.cdf(x)) / self.share
        return torch.where(x < 0, 0.0, inside.clamp(0, 1))

    def ppf(self, q: torch.Tensor) -> torch.Tensor:
        """Return the quantiles at the levels ``q``."""
        inner = 1 - (1 - q.double()) * self.share
        zeros = self.atoms[0][1] if self.atoms else 0.0
        return torch.where(q < zeros, 0.0, self.companion.ppf(inner.clamp(0, 1)).clamp(min=0))

    def quantiles(self, count: int) -> torch.Tensor:
        """Return ``count`` predicted eigenvalues, ascending."""
        levels = torch.arange(count, dtype=torch.float64, device=self.companion.x.device)
        return self.ppf((levels + 0.5) / count)

    @property
    def _top(self) -> float:
        return float(self.companion.x[-1])


def grown_gram(
    eigenvalues: torch.Tensor, dimension: int, factor: float, *, points: int = 4000, cells: int = 256
) -> GrownGram:
    """Return the law of the Gram matrix of ``factor`` times as many vectors of the same kind.

    Parameters
    ----------
    eigenvalues
        Shape ``(n,)``, float64, not negative: of the Gram matrix of ``n`` vectors.
    dimension
        Entries of a vector.
    factor
        Above 1.
    points
        Points of the curve.
    cells
        Different eigenvalues at most: of more, neighbours are replaced by their mean.

    Raises
    ------
    ValueError
        If the factor is not above 1, or the eigenvalues are all alike.

    References
    ----------
    Nica, Speicher, *On the multiplication of free N-tuples*, 1996. Silverstein, Bai 1995 for the matrices.
    """
    if not factor > 1:
        raise ValueError(f"the factor must be above 1, not {factor}")
    # the companion's measure at its own size is exact; its power is a compression by the factor, dilated
    other_side = companion(_merged(eigenvalues.double(), cells), dimension)
    law = evolve(nevanlinna(other_side * factor), 1 / factor, points)
    return GrownGram(law, len(eigenvalues) * factor / dimension)


def missed_variance(matrix: torch.Tensor, dimension: int, factor: float) -> float:
    """Return by how much growth by rows misses the variance that entries alone give, over that variance.

    ``tr A²/N = E a_ii² + (N - 1) E a_ij²`` needs no assumption; rows that are free of each other have
    ``E a_ij² = (E a_ii)²/d``, and rows with directions in common have more.

    Parameters
    ----------
    matrix
        Shape ``(n, n)``, float64: the Gram matrix, without spikes.
    dimension
        ``d``.
    factor
        ``N/n``.
    """
    n = len(matrix)
    diagonal = matrix.diagonal()
    mean, squares = float(diagonal.mean()), float((diagonal**2).sum())
    off = (float((matrix**2).sum()) - squares) / max(1, n * (n - 1))
    variance = squares / n + (n * factor - 1) * off - mean**2
    return (factor - 1) * n * (mean**2 / dimension - off) / variance if variance > 0 else 0.0


def _mass_at_zero(law: EvolvedLaw) -> float:
    top = float(law.x[-1])
    return sum(mass for place, mass in law.atoms if abs(place) <= 1e-9 * top)


def _merged(eigenvalues: torch.Tensor, most: int) -> torch.Tensor:
    """Return as many eigenvalues with about as many different ones, beside zeros; an eighth at each end stay.

    What is merged is far finer than what the convolution smooths over; at the ends, where eigenvalues are
    sparse, it would show.
    """
    ascending = eigenvalues.sort().values
    held = ascending[ascending > 0]
    if len(held) <= most:
        return ascending
    end = most // 8
    inner = torch.tensor_split(held[end : len(held) - end], most - 2 * end)
    runs = [run.mean().expand(len(run)) for run in inner]
    return torch.cat([ascending[ascending <= 0], held[:end], *runs, held[len(held) - end :]])
