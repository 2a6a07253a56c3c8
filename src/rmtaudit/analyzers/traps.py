"""``traps``: what the sizes of a layer's entries do to its spectrum, and the determinant condition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.analyzers.base import (
    ADAPTER_CORE,
    ZERO_MATRIX,
    Analysis,
    Analyzer,
    LayerInput,
    Metric,
    MetricValue,
    Observation,
    Scalar,
    failed,
    pooled,
    skipped,
)

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.noise.traps import Randomised

_LEAST_SIDE = 16
_MIN_TAIL = 8
_ERG = ("erg_rank", "erg_gap")
_MARTIN = "Martin, Hinrichs 2025 (SETOL)"


@dataclass(frozen=True, slots=True)
class TrapsOptions:
    """Options of :class:`Traps`.

    Attributes
    ----------
    signs
        Whether to randomise the signs of the entries too, each where it is.
    level
        A trap is observed where its p-value is below.
    """

    signs: bool = True
    level: float = 0.001

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie between 0 and 1, not {self.level}")


class Traps(Analyzer):
    """Outliers that survive a shuffle of the entries (correlation traps), and the determinant condition."""

    name = "traps"
    metrics = (
        Metric(
            name="traps",
            unit="count",
            better="lower",
            description=("Number of eigenvalues of the shuffled matrix above the Marchenko-Pastur edge."),
            reference="Martin, Mahoney 2021, section 5; Tracy, Widom 1996",
        ),
        Metric(
            name="trap_p_value",
            description=(
                "p-value: probability that a shuffled matrix with light-tailed entries "
                "has a largest eigenvalue as large."
            ),
            reference="Johnstone 2001",
            summarised=False,
        ),
        Metric(
            name="trap_ratio",
            better="lower",
            description=("Largest eigenvalue of the shuffled matrix divided by the Marchenko-Pastur edge."),
            reference="Martin, Mahoney 2021, section 5",
        ),
        Metric(
            name="sign_flip_ratio",
            description=(
                "trap_ratio for the entries in their places with random signs, which shows "
                "the effect of uneven rows and columns."
            ),
            reference="Landa, Kluger 2023, section 1",
        ),
        Metric(
            name="erg_rank",
            unit="count",
            description=(
                "Number of the largest eigenvalues, rescaled to mean 1, whose product is still at least 1."
            ),
            reference=f"{_MARTIN}, determinant condition",
            summarised=False,
        ),
        Metric(
            name="erg_gap",
            unit="count",
            description=(
                "erg_rank minus the number of eigenvalues in the power-law tail; 0 is the ideal of SETOL."
            ),
            reference=f"{_MARTIN}, determinant condition",
        ),
    )
    needs = frozenset({"spectrum", "matrix"})
    Options = TrapsOptions

    def active_metrics(self) -> tuple[Metric, ...]:
        """Return the metrics that these options ask for."""
        return tuple(
            metric for metric in self.metrics if self.options.signs or metric.name != "sign_flip_ratio"
        )

    def analyze(self, given: LayerInput) -> Analysis:
        """Randomise one matrix; layers that pool several, and small ones, have none of the metrics."""
        # here and not above: the list of analyzers is printed without loading torch
        from rmtaudit.kernels.noise.traps import randomised_by_shuffle, randomised_by_signs
        from rmtaudit.matrices.layers import LayerKind

        if given.layer.kind is LayerKind.ADAPTER:
            return Analysis(self.each_metric(ADAPTER_CORE))
        if len(given.matrices) != 1:
            return Analysis(self.each_metric(pooled(len(given.matrices))))
        if not given.spectrum.eigenvalues.max() > 0:
            return Analysis(self.each_metric(ZERO_MATRIX))
        matrix = given.matrices[0]
        if min(matrix.shape) < _LEAST_SIDE:
            reason = f"the smaller side is {min(matrix.shape)}, below the minimum of {_LEAST_SIDE} for a bulk"
            return Analysis(self.each_metric(skipped(reason)))
        erg = _erg(given.spectrum.eigenvalues)
        try:
            shuffle = randomised_by_shuffle(matrix, given.generator("trap shuffle"))
        except ArithmeticError as error:
            return Analysis(self.each_metric(failed(str(error))) | erg)
        values: dict[str, MetricValue | Scalar] = {
            "traps": shuffle.outliers,
            "trap_p_value": shuffle.p_value,
            "trap_ratio": shuffle.ratio,
        }
        if self.options.signs:
            values["sign_flip_ratio"] = randomised_by_signs(matrix, given.generator("trap signs"))
        observations = (_trap(shuffle, matrix),) if shuffle.p_value < self.options.level else ()
        return Analysis(values | erg, observations)


def _erg(eigenvalues: torch.Tensor) -> dict[str, MetricValue | Scalar]:
    from rmtaudit.kernels.powerlaw.fit import NoFit, fit_power_law
    from rmtaudit.kernels.ww.determinant import determinant_tail

    try:
        size = determinant_tail(eigenvalues).size
    except ArithmeticError as error:
        return dict.fromkeys(_ERG, failed(str(error)))
    fit = fit_power_law(eigenvalues, min_tail=_MIN_TAIL, stability=False)
    gap = failed(fit.reason) if isinstance(fit, NoFit) else size - fit.tail_size
    return {"erg_rank": size, "erg_gap": gap}


def _trap(shuffle: Randomised, matrix: torch.Tensor) -> Observation:
    flat = int(matrix.abs().argmax())
    position = list(divmod(flat, matrix.shape[1]))
    largest = float(matrix.reshape(-1)[flat])
    size = abs(largest - shuffle.mean) / math.sqrt(shuffle.variance)
    return Observation(
        code="RA-NF-003",
        message="When the entries are shuffled at random, the largest eigenvalue is still "
        f"{shuffle.ratio:.2f} times the edge of noise: a few entries are too large (the largest is "
        f"{size:.1f} standard deviations, at {position}).",
        evidence={
            "ratio": shuffle.ratio,
            "traps": shuffle.outliers,
            "largest_entry": largest,
            "largest_entry_position": position,
            "largest_entry_deviations": size,
        },
        p_value=shuffle.p_value,
    )
