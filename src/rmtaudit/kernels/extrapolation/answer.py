"""What may be said of a larger matrix, and how sure of each number: the answer of every route."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch

from rmtaudit.kernels.extrapolation.functionals import (
    FUNCTIONALS,
    Interval,
    Law,
    ends,
    functionals,
    interval,
)
from rmtaudit.kernels.extrapolation.nested import Nested
from rmtaudit.kernels.extrapolation.verdict import Verdict
from rmtaudit.kernels.free.decompression import Decompression
from rmtaudit.kernels.free.determination import Determination
from rmtaudit.kernels.free.freeness import FreenessEvidence

Route = Literal["free", "rows"]
T = TypeVar("T")

_TRACY_WIDOM = 0.66
"""1.27, the standard deviation of the law of Tracy and Widom, over 1.91, the distance of the first two
zeros."""
_FLOORED = frozenset({"lower_edge", "upper_edge", "atom", "condition", "standard_deviation"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What may be said of the larger matrix.

    Attributes
    ----------
    verdict
        Whether there is an answer, and what it rests on.
    route
        ``free``: free decompression. ``rows``: growth of a Gram matrix by more vectors of the same kind.
    law
        The prediction without spikes; ``None`` where the verdict refuses it.
    replicas
        The laws that its intervals are from.
    alternatives
        The predictions of a rougher fit, and of a few atoms, for the intervals; none on the other route.
    extremes
        Laws that fit the blocks as well and differ most from each other: intervals reach them.
    pooled
        Whether the prediction is the mean over replicas, each from a block of its own.
    positive
        Whether the larger matrix is taken for positive semidefinite.
    bulk
        Spectra of the blocks without spikes, shape ``(R, n)``, ascending, on the CPU.
    spikes
        Outliers of the first block, and where each goes if it is spread over all coordinates.
    free
        The free fit with its tests; ``None`` on the other route.
    nested
        Scores on real quarters of the block; ``None`` without the block.
    diagonal_share
        Share of the variance of the spectrum that the diagonal holds; ``None`` without the block.
    baselines
        The laws of 2, 3 and 4 free cumulants at the larger size, those that exist.
    order
        Of the larger matrix.
    smooth, smoothed
        Where the law has a form of few numbers, a smooth law beside it and beside each of its replicas: what
        it says beyond its own noise is in the intervals.
    freeness
        What the block shows about freeness; ``None`` without the block, and on the other route.
    determination
        What the block determines; ``None`` on the other route, and where that could not be computed.
    """

    verdict: Verdict
    route: Route
    law: Law | None
    replicas: tuple[Law, ...]
    alternatives: tuple[Law, ...]
    extremes: tuple[Law, ...]
    pooled: bool
    positive: bool
    bulk: torch.Tensor
    spikes: tuple[tuple[float, float | None], ...]
    free: Decompression | None
    nested: Nested | None
    diagonal_share: float | None
    baselines: Mapping[int, Law]
    order: float
    smooth: Law | None = None
    smoothed: tuple[Law, ...] = ()
    freeness: FreenessEvidence | None = None
    determination: Determination | None = None

    @property
    def reason(self) -> str:
        """Why the verdict is what it is, in clauses; may be empty."""
        return self.verdict.reason

    def numbers(self) -> dict[str, Interval]:
        """Return every functional with its interval of 90 %; empty where the verdict refuses."""
        if self.law is None:
            return {}
        centre = functionals(self.law, order=self.order, positive=self.positive)
        drawn = [functionals(law, order=self.order, positive=self.positive) for law in self.replicas]
        others = [functionals(law, order=self.order, positive=self.positive) for law in self.alternatives]
        errors = self._edge_fluctuations()
        also = [functionals(law, order=self.order, positive=self.positive) for law in self.extremes]
        second = self._second(lambda law: functionals(law, order=self.order, positive=self.positive))
        return {
            name: interval(
                name,
                centre[name],
                [one[name] for one in drawn],
                pooled=self.pooled,
                floor=0.0 if self.positive and name in _FLOORED else None,
                alternatives=[one[name] for one in others],
                error=errors.get(name, 0.0),
                also=[one[name] for one in also],
                second=[one[name] for one in second],
            )
            for name in FUNCTIONALS
        }

    def _second(self, of: Callable[[Law], T]) -> list[T]:
        """Return what the smooth law beside a form says, and then those beside its replicas."""
        return [] if self.smooth is None else [of(law) for law in (self.smooth, *self.smoothed)]

    def _edge_fluctuations(self) -> dict[str, float]:
        """Return standard deviations of the extreme eigenvalues: two thirds of their distance to the next.

        Of the law of Tracy and Widom for real matrices it is 1.27, and the first two zeros of the phase are
        1.91 apart.
        """
        assert self.law is not None
        first, second = ends(self.law, self.order), ends(self.law, self.order, 1.5)
        low, high = (_TRACY_WIDOM * abs(one - other) for one, other in zip(first, second, strict=True))
        ratio = math.hypot(low / first[0], high / first[1]) if first[0] > 0 else 0.0
        return {"lower_edge": low, "upper_edge": high, "condition": ratio}

    def band(self, levels: torch.Tensor) -> list[Interval]:
        """Return the quantiles at ``levels`` with their intervals of 90 %.

        They are of the eigenvalues of the larger matrix, whose own fluctuation is part of them: ``√(2 log N)
        / (πNρ)``, as for real Gaussian matrices (Gustavsson 2005, theorem 1.1).
        """
        if self.law is None:
            return []
        centre = self.law.ppf(levels).tolist()
        drawn = [law.ppf(levels).tolist() for law in self.replicas]
        others = [law.ppf(levels).tolist() for law in self.alternatives]
        also = [law.ppf(levels).tolist() for law in self.extremes]
        second = self._second(lambda law: law.ppf(levels).tolist())
        floor = 0.0 if self.positive else None
        own = math.sqrt(2 * math.log(self.order)) / (math.pi * self.order)
        density = self.density(torch.tensor(centre, dtype=torch.float64)).tolist()
        return [
            interval(
                "",
                value,
                [one[index] for one in drawn],
                pooled=self.pooled,
                floor=floor,
                alternatives=[one[index] for one in others],
                error=own / height if height > 0 else 0.0,
                also=[one[index] for one in also],
                second=[one[index] for one in second],
            )
            for index, (value, height) in enumerate(zip(centre, density, strict=True))
        ]

    def quantiles(self, count: int) -> torch.Tensor:
        """Return ``count`` predicted eigenvalues, ascending, without spikes, on the CPU.

        Raises
        ------
        ValueError
            If the verdict refuses the prediction.
        """
        if self.law is None:
            raise ValueError(f"{self.verdict.word}: {self.reason}")
        if self.pooled:
            return torch.stack([law.quantiles(count) for law in self.replicas]).mean(0).cpu()
        return self.law.quantiles(count).cpu()

    def density(self, x: torch.Tensor) -> torch.Tensor:
        """Return the density at ``x``, the mean over samples; raises as :meth:`quantiles`."""
        if self.law is None:
            raise ValueError(f"{self.verdict.word}: {self.reason}")
        laws = self.replicas if self.pooled else (self.law,)
        return torch.stack([law.pdf(x) for law in laws]).mean(0)
