"""The statistic of a relation test and its exact moments over all relabellings of the units.

Units of a hidden layer carry no order: training treats them alike, so relabelling the units of a network that
was trained independently changes nothing in law. The statistic is

``T(π) = Σ_s Σ_i C_s[i, π_s(i)] + Σ_g Σ_{i≠k} A_g[i, k] B_g[π(i), π(k)]``

where ``C_s`` compares units with units within stratum ``s`` (one head, one expert; a single stratum as a
rule) and ``A_g``, ``B_g`` connect the units of a layer to each other, so that rows and columns are relabelled
together (recurrent kernels). The observed value is that of the identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitScores:
    """Centred scores, from which mean, variance and third moment of ``T`` follow in closed form.

    Attributes
    ----------
    linear
        Shape ``(strata, n, n)``, float64, rows and columns sum to 0.
    first, second
        Shape ``(g, n, n)``, float64: zero diagonal, rows and columns sum to 0. Empty (``g = 0``) where no
        weight connects the units to each other; there is one stratum where they are not empty.
    weight
        By how much ``T`` exceeds its mean where all units are equal to their namesakes, if the scores are
        cosines: ``strata n - E T``, over the scale of the statistic.
    """

    linear: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    weight: float

    @property
    def units(self) -> int:
        """Number of units over all strata."""
        return self.linear.shape[0] * self.linear.shape[1]

    @property
    def statistic(self) -> float:
        """Observed ``T`` less its mean."""
        diagonal = float(torch.diagonal(self.linear, dim1=1, dim2=2).sum())
        return diagonal + float((self.first * self.second).sum())

    @property
    def cosine(self) -> float:
        """Mean cosine of units with the same label, corrected for chance.

        0 where they agree as under random relabelling, 1 where they are equal.
        """
        return self.statistic / self.weight if self.weight > 0 else 0.0

    @property
    def variance(self) -> float:
        """Exact variance of ``T`` over uniform relabellings."""
        n = self.linear.shape[1]
        return float(self.linear.square().sum()) / (n - 1) + _variance_of_pairs(self.first, self.second)

    @property
    def third_moment(self) -> float:
        """Exact third central moment of the linear part of ``T``; 0 for two units a stratum."""
        n = self.linear.shape[1]
        if n < 3:
            return 0.0
        return n * float(self.linear.pow(3).sum()) / ((n - 1) * (n - 2))


def unit_cosines(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the cosines between the units of two matrices.

    Parameters
    ----------
    first, second
        Weights of each unit, shape ``(strata, n, features)`` or ``(n, features)``.

    Returns
    -------
    torch.Tensor
        Shape ``(strata, n, n)``, float64; 0 for a unit without weights.
    """
    rows = [_unit_rows(weights if weights.ndim == 3 else weights[None]) for weights in (first, second)]
    return (rows[0] @ rows[1].transpose(1, 2)).double()


def _unit_rows(weights: torch.Tensor) -> torch.Tensor:
    largest = weights.abs().amax(dim=-1, keepdim=True)
    scaled = weights / torch.where(largest > 0, largest, 1)
    norms = scaled.norm(dim=-1, keepdim=True)
    return scaled / torch.where(norms > 0, norms, 1)


def unit_scores(
    linear: torch.Tensor, first: torch.Tensor | None = None, second: torch.Tensor | None = None
) -> UnitScores:
    """Centre the scores of a statistic.

    Parameters
    ----------
    linear
        Similarity of unit i of A with unit j of B, shape ``(strata, n, n)``, at least 2 units.
    first, second
        Weights between the units of A and of B, shape ``(g, n, n)``, at least 4 units; their diagonals belong
        to the linear part and are moved there. Only with one stratum.

    Raises
    ------
    ValueError
        For shapes that do not fit.

    Notes
    -----
    Hoeffding (1951) for the linear part. The part with two labels is first projected onto its degenerate
    component: ``A_g[i, k] = a[i, k] + u[i] + v[k]`` with rows and columns of ``a`` summing to 0, which makes
    both parts uncorrelated over relabellings. Mantel (1967) has the moments without the projection.
    """
    if linear.ndim != 3 or linear.shape[1] != linear.shape[2] or linear.shape[1] < 2:
        raise ValueError("linear scores have the shape (strata, n, n) with at least 2 units")
    linear = linear.double()
    n = linear.shape[1]
    observed = float(torch.diagonal(linear, dim1=1, dim2=2).sum())
    if first is None or second is None:
        empty = linear.new_zeros((0, n, n))
        return _weighted(observed, UnitScores(linear=_centred(linear), first=empty, second=empty, weight=1.0))
    if first.shape != second.shape or first.shape[1:] != (n, n) or len(linear) != 1 or n < 4:
        raise ValueError("weights between units have the shape (g, n, n), with one stratum and 4 units")
    first, second = first.double(), second.double()
    diagonals = [torch.diagonal(each, dim1=1, dim2=2) for each in (first, second)]
    moved = diagonals[0].T @ diagonals[1]
    a, u, v = _projected(first)
    b, x, y = _projected(second)
    moved = moved + (n - 1) * (u.T @ x + v.T @ y) - u.T @ y - v.T @ x
    observed += float((first * second).sum())
    return _weighted(
        observed, UnitScores(linear=_centred(linear + moved[None]), first=a, second=b, weight=1.0)
    )


@dataclass(slots=True, kw_only=True)
class ScoreSum:
    """``Σ T_p / sd(T_p)`` over statistics of the same units, relabelled together, added one at a time.

    Attributes
    ----------
    most_entries
        Entries of the weights between units that are kept; a statistic with more is counted in ``left_out``.
    left_out
        Number of statistics that were left out: no variance (constant weights), or too many entries.
    """

    most_entries: int = 1 << 25
    left_out: int = 0
    _linear: torch.Tensor | None = None
    _pairs: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    _weight: float = 0.0

    def add(self, scores: UnitScores) -> None:
        """Add a statistic. Raises ``ValueError`` for one of other units."""
        variance = scores.variance
        entries = sum(first.numel() for first, _ in self._pairs) + scores.first.numel()
        if not variance > 0 or entries > self.most_entries:
            self.left_out += 1
            return
        scale = math.sqrt(variance)
        if self._linear is None:
            self._linear = torch.zeros_like(scores.linear)
        if self._linear.shape != scores.linear.shape:
            raise ValueError("statistics of different units cannot be combined")
        self._linear += scores.linear / scale
        self._weight += scores.weight / scale
        if len(scores.first):
            self._pairs.append((scores.first / scale, scores.second))

    def total(self) -> UnitScores | None:
        """Return the sum; ``None`` where nothing was added."""
        if self._linear is None:
            return None
        empty = self._linear.new_zeros((0, *self._linear.shape[1:]))
        return UnitScores(
            linear=self._linear,
            first=torch.cat([empty, *(first for first, _ in self._pairs)]),
            second=torch.cat([empty, *(second for _, second in self._pairs)]),
            weight=self._weight,
        )


def _weighted(observed: float, scores: UnitScores) -> UnitScores:
    expected = observed - scores.statistic
    return replace(scores, weight=scores.units - expected)


def _centred(linear: torch.Tensor) -> torch.Tensor:
    rows = linear.mean(dim=2, keepdim=True)
    columns = linear.mean(dim=1, keepdim=True)
    return linear - rows - columns + linear.mean(dim=(1, 2), keepdim=True)


def _projected(weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the degenerate part, ``(g, n, n)``, and what was taken off rows and columns, ``(g, n)``."""
    n = weights.shape[1]
    off = weights - torch.diag_embed(torch.diagonal(weights, dim1=1, dim2=2))
    rows, columns = off.sum(dim=2), off.sum(dim=1)
    half = rows.sum(dim=1, keepdim=True) / (2 * (n - 1))  # the sum of u and that of v: one choice of many
    u = ((n - 1) * (rows - half) + columns - half) / ((n - 1) ** 2 - 1)
    v = ((n - 1) * (columns - half) + rows - half) / ((n - 1) ** 2 - 1)
    degenerate = off - u[:, :, None] - v[:, None, :]
    return degenerate - torch.diag_embed(torch.diagonal(degenerate, dim1=1, dim2=2)), u, v


def _variance_of_pairs(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the variance of ``Σ_g Σ_{i≠k} a_g[i, k] b_g[π(i), π(k)]`` for degenerate ``a`` and ``b``.

    With rows and columns that sum to 0, the sums over pairs that share no, one or two places all follow from
    ``Σ a[i, k] a'[i, k]`` and ``Σ a[i, k] a'[k, i]``.
    """
    g, n = first.shape[0], first.shape[1]
    if not g:
        return 0.0
    straight, crossed = [], []
    for weights in (first, second):
        flat = weights.reshape(g, -1)
        straight.append(flat @ flat.T)
        crossed.append(flat @ weights.transpose(1, 2).reshape(g, -1).T)
    same = straight[0] * straight[1] + crossed[0] * crossed[1]
    apart = (straight[0] + crossed[0]) * (straight[1] + crossed[1])
    places = n * (n - 1)
    total = same.sum() / places * (1 + 2 / (n - 2))
    return float(total + apart.sum() / (places * (n - 2) * (n - 3)))
