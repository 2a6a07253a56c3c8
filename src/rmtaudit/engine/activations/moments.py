"""The covariance of rows that come a few at a time, of all and without each group of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from rmtaudit.kernels.equivalents.row_scales import scale_variance, squared_scales

_SCALED = 512
"""Rows that the variance of the scales is estimated from, at most: it takes their products."""
_SEEN = 2.0
"""Standard errors above 0 from which the scales of rows count as different: one-sided 2.5 %."""


@dataclass(frozen=True, slots=True)
class Covariance:
    """The spectrum of a sample covariance, about the mean of the rows.

    Attributes
    ----------
    eigenvalues
        Ascending, float64, those of ``XᵀX/degrees`` with centred rows; ``min(features, degrees)`` of them.
    degrees
        Rows less one: a covariance about the mean of ``n`` normal rows is one of ``n - 1`` rows about 0.
    mean_fourth
        Mean of the fourth powers of the lengths of the rows about their mean; of those that are kept.
    scales
        Squared scales of the rows that are kept, of mean 1; ``None`` where they do not differ measurably.
    """

    eigenvalues: torch.Tensor
    degrees: int
    mean_fourth: float
    scales: torch.Tensor | None


class Moments:
    """Rows, or sums and products of them by group, whichever takes less memory.

    Parameters
    ----------
    count, features
        Rows that will come, and their numbers.
    groups
        Of rows, that are left out in turn.
    kept
        Rows that are kept as they are.

    Attributes
    ----------
    rows
        So far.
    finite
        Whether all numbers were finite.
    """

    def __init__(self, count: int, features: int, groups: int, *, kept: int) -> None:
        self.features, self.groups, self.rows, self.finite = features, groups, 0, True
        self._whole = holds_rows(count, features, groups)
        self._kept = count if self._whole else min(kept, count)
        self._first = torch.empty((self._kept, features), dtype=torch.float64)
        self._group_of: list[torch.Tensor] = []
        self._shift: torch.Tensor | None = None
        self._squares = 0.0
        sides = 0 if self._whole else features
        self._products = torch.zeros((groups, sides, sides), dtype=torch.float64)
        self._sums = torch.zeros((groups, features), dtype=torch.float64)

    def add(self, rows: torch.Tensor, groups: torch.Tensor) -> None:
        """Take some rows, shape ``(m, features)``, float64, and the group of each."""
        self.finite = self.finite and bool(torch.isfinite(rows).all())
        room = self._kept - self.rows
        if room > 0:
            self._first[self.rows : self.rows + len(rows)] = rows[:room]
        if self._shift is None:
            self._shift = rows.mean(0)
        self._squares += float(rows.square().sum())
        self._group_of.append(groups)
        self.rows += len(rows)
        if self._whole:
            return
        shifted = rows - self._shift  # so that nothing is lost where the mean is large
        for group in set(groups.tolist()):
            own = shifted[groups == group]
            self._sums[group] += own.sum(0)
            self._products[group] += own.T @ own

    @property
    def first(self) -> torch.Tensor:
        """The rows that were kept, the first ones."""
        return self._first[: min(self.rows, self._kept)]

    @property
    def mean_square(self) -> float:
        """Mean of the squares of all numbers."""
        return self._squares / (self.rows * self.features)

    def covariances(self) -> Iterator[Covariance]:
        """Yield the covariance of all rows, and then without each group."""
        every = frozenset(range(self.groups))
        whole = self._covariance(sorted(every), scaled=None)
        yield whole
        for group in range(self.groups):
            yield self._covariance(sorted(every - {group}), scaled=whole.scales is not None)

    def along(self, directions: torch.Tensor) -> torch.Tensor:
        """Return the variance along directions, the columns of a matrix, shape ``(k,)``."""
        if self._whole:
            centred = self.first - self.first.mean(0)
            return (centred @ directions).square().sum(0) / (self.rows - 1)
        product = self._scatter(list(range(self.groups)), self.rows)
        return (directions * (product @ directions)).sum(0) / (self.rows - 1)

    def _covariance(self, groups: list[int], *, scaled: bool | None) -> Covariance:
        """Return the covariance of some groups; ``scaled``: whether rows have scales, ``None`` to decide."""
        chosen = torch.isin(torch.cat(self._group_of), torch.tensor(groups))
        rows = int(chosen.sum())
        degrees = rows - 1
        if self._whole:
            own = self.first[chosen]
            centred = own - own.mean(0)
            gram = centred.T @ centred if self.features <= degrees else centred @ centred.T
        else:
            gram = self._scatter(groups, rows)
        values = torch.linalg.eigvalsh(gram).clamp(min=0) / degrees
        some = self.first[chosen[: len(self.first)]]
        some = some - some.mean(0)
        lengths = some.square().sum(1)
        return Covariance(
            values[-min(self.features, degrees) :],
            degrees,
            float(lengths.square().mean()),
            None if scaled is False else _scales(some, lengths, decide=scaled is None),
        )

    def _scatter(self, groups: list[int], rows: int) -> torch.Tensor:
        total, products = self._sums[groups].sum(0), torch.zeros_like(self._products[0])
        for group in groups:
            products += self._products[group]
        return products - torch.outer(total, total) / rows


def _scales(rows: torch.Tensor, lengths: torch.Tensor, *, decide: bool) -> torch.Tensor | None:
    """Return squared scales of centred rows of these squared lengths, or ``None`` where none are seen."""
    variance = scale_variance(rows[:_SCALED])
    if decide and variance.value <= _SEEN * variance.se:
        return None
    least = torch.finfo(lengths.dtype).eps * lengths.mean()
    return squared_scales(lengths.clamp(min=float(least)), max(0.0, variance.value))


def holds_rows(count: int, features: int, groups: int) -> bool:
    """Whether rows take less memory than their products by group."""
    return count <= groups * features


def memory_of(count: int, features: int, groups: int, *, kept: int) -> int:
    """Return the bytes that the moments of a site take, and what its spectra take."""
    if holds_rows(count, features, groups):
        held = count * features
        side = min(count, features)
        return 8 * (2 * held + 4 * side**2)
    return 8 * ((groups + 5) * features**2 + kept * features)
