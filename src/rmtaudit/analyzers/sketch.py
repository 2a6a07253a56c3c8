"""``sketch``: the largest singular values of a layer, each with an interval, without its spectrum."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.analyzers.base import ZERO_MATRIX, Analyzer, LayerInput, Metric, MetricValue, skipped

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.randnla.krylov import Partial

_SPARE = 8
_STEPS = 12
_TOLERANCE = 1e-3
"""Of the residuals; the intervals are as narrow as its square where there is a gap."""
_PROBES = 4 * 14
_BLOCK = 1 << 22
_MUSCO = "Musco, Musco 2015; Li, Li 2005, theorem 2"
_TOP, _MOST = 5, 100


@dataclass(frozen=True, slots=True)
class SketchOptions:
    """Options of :class:`Sketch`.

    Attributes
    ----------
    top
        How many singular values.
    failure
        Probability that one of a layer's upper ends is too low.
    """

    top: int = _TOP
    failure: float = 0.001

    def __post_init__(self) -> None:
        if not 1 <= self.top <= _MOST:
            raise ValueError(f"top must lie between 1 and {_MOST}, not {self.top}")
        if not 0 < self.failure < 0.5:
            raise ValueError(f"failure must lie between 0 and 0.5, not {self.failure}")


def _sigma(i: int) -> Metric:
    name = "Largest singular value" if i == 1 else f"Singular value number {i} from the top"
    return Metric(
        name=f"sketch_sigma_{i}",
        unit="w",
        description=f"{name}; the interval ci contains it.",
        reference=_MUSCO,
    )


_OTHERS = (
    Metric(
        name="sketch_frobenius_norm",
        unit="w",
        description="Square root of the sum of the squared weights; exact.",
        reference="Elementary.",
    ),
    Metric(
        name="sketch_stable_rank",
        description=(
            "Squared ratio of the Frobenius norm to the spectral norm; the interval "
            "follows from that of the spectral norm."
        ),
        reference="Rudelson, Vershynin 2007",
    ),
    Metric(
        name="sketch_tail_share",
        description="Share of the squared Frobenius norm outside the singular values that were computed.",
        reference="Elementary.",
    ),
)


class Sketch(Analyzer):
    """Top singular values with intervals, and the stable rank, of layers of any size."""

    name = "sketch"
    metrics = (*(_sigma(i) for i in range(1, _TOP + 1)), *_OTHERS)
    needs = frozenset({"matrix"})
    Options = SketchOptions

    def active_metrics(self) -> tuple[Metric, ...]:
        """Return the metrics that these options ask for."""
        return (*(_sigma(i) for i in range(1, self.options.top + 1)), *_OTHERS)

    def working_bytes(self, rows: int, cols: int) -> int:
        """Return what the bases of both sides and a widened block of rows take."""
        top: int = self.options.top
        columns = (top + _SPARE) * (_STEPS + 6) + _PROBES
        return 8 * (rows + cols) * columns + min(_BLOCK, 8 * rows * cols)

    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | float]:
        """Return every metric; of several matrices, the largest values of all of them together."""
        # here and not above: the list of analyzers is printed without loading torch
        import torch

        from rmtaudit.kernels.counter import seed_of
        from rmtaudit.kernels.operators import linear
        from rmtaudit.kernels.randnla.krylov import top_singular

        exponent = max(_exponent(matrix) for matrix in given.matrices)
        generator = given.generator("sketch")
        parts: list[Partial] = []
        for matrix in given.matrices:
            operator = linear(_scaled(matrix, exponent))
            parts.append(
                top_singular(
                    operator,
                    min(self.options.top, operator.rank),
                    seed_of(generator),
                    steps=_STEPS,
                    tolerance=_TOLERANCE,
                    failure=self.options.failure / len(given.matrices),
                )
            )

        def largest(name: str) -> list[float]:
            # the i-th largest of the ends is an end for the i-th largest of the values
            together = torch.cat([getattr(part, name) for part in parts])
            ends: list[float] = together.sort(descending=True).values[: self.options.top].tolist()
            return ends

        values, lower, upper = (largest(name) for name in ("values", "lower", "upper"))
        energy = math.fsum(part.energy or 0.0 for part in parts)
        return self._named(values, lower, upper, energy, 2.0**exponent)

    def _named(
        self, values: list[float], lower: list[float], upper: list[float], energy: float, unit: float
    ) -> dict[str, MetricValue | float]:
        metrics: dict[str, MetricValue | float] = {}
        for i in range(self.options.top):
            metrics[f"sketch_sigma_{i + 1}"] = (
                MetricValue(value=values[i] * unit, ci=(lower[i] * unit, upper[i] * unit))
                if i < len(values)
                else skipped(f"the layer has {len(values)} singular values")
            )
        metrics["sketch_frobenius_norm"] = math.sqrt(energy) * unit
        if not energy > 0:
            return metrics | {metric.name: ZERO_MATRIX for metric in _OTHERS[1:]}
        first = values[0] ** 2

        def share(ends: list[float]) -> float:
            return max(1 - math.fsum(end**2 for end in ends) / energy, 0.0)

        return metrics | {
            "sketch_stable_rank": MetricValue(
                value=energy / first, ci=(energy / upper[0] ** 2, energy / lower[0] ** 2)
            ),
            "sketch_tail_share": MetricValue(value=share(values), ci=(share(upper), share(lower))),
        }


def _exponent(matrix: torch.Tensor) -> int:
    """Return the power of two to divide by where products could leave the range of their dtype, else 0."""
    import torch

    low, high = torch.aminmax(matrix)
    exponent: int = math.frexp(max(abs(float(low)), abs(float(high))))[1]
    return exponent if abs(exponent) > (40 if matrix.dtype == torch.float32 else 300) else 0


def _scaled(matrix: torch.Tensor, exponent: int) -> torch.Tensor:
    return matrix.double() * 2.0**-exponent if exponent else matrix
