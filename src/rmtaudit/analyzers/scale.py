"""``scale``: how large a layer is, and how its size is spread over directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rmtaudit.analyzers.base import (
    ZERO_MATRIX,
    Analyzer,
    LayerInput,
    Metric,
    MetricValue,
    NoOptions,
    skipped,
)
from rmtaudit.kernels.spectra.accuracy import Accuracy
from rmtaudit.matrices.tensors import smallest_normal

if TYPE_CHECKING:
    from rmtaudit.kernels.spectra.spectrum import Spectrum

_MARTIN = "Martin, Peng, Mahoney 2021"


class Scale(Analyzer):
    """Norms, ranks, entropy and condition number of a layer, from its eigenvalues."""

    name = "scale"
    metrics = (
        Metric(
            name="frobenius_norm",
            unit="w",
            description="Square root of the sum of the squared weights.",
            reference=_MARTIN,
        ),
        Metric(
            name="log10_frobenius_norm",
            unit="log10 w",
            description="Decimal logarithm of the Frobenius norm.",
            reference=_MARTIN,
        ),
        Metric(name="spectral_norm", unit="w", description="Largest singular value.", reference=_MARTIN),
        Metric(
            name="log10_spectral_norm",
            unit="log10 w",
            description="Decimal logarithm of the spectral norm.",
            reference=_MARTIN,
        ),
        Metric(
            name="stable_rank",
            description=(
                "Squared ratio of the Frobenius norm to the spectral norm: the number of "
                "directions as strong as the strongest that would have the same "
                "Frobenius norm."
            ),
            reference="Rudelson, Vershynin 2007",
        ),
        Metric(
            name="numerical_rank",
            unit="count",
            description=("Number of singular values that the stored precision distinguishes from zero."),
            reference="rounding as a random matrix; Davidson, Szarek 2001, theorem II.13",
        ),
        Metric(
            name="rank_deficit",
            unit="count",
            description=("Smaller side of the matrix minus the numerical rank, summed over pooled matrices."),
            reference="rounding as a random matrix; Davidson, Szarek 2001, theorem II.13",
        ),
        Metric(
            name="entropy",
            description=(
                "Shannon entropy of the eigenvalues' shares of their sum, divided by its maximum, log n."
            ),
            reference="Martin, Mahoney 2021, matrix entropy",
        ),
        Metric(
            name="effective_rank",
            description=(
                "Exponential of the entropy: the number of equal eigenvalues that would "
                "have the same entropy."
            ),
            reference="Roy, Vetterli 2007, of eigenvalues",
        ),
        Metric(
            name="condition",
            description=(
                "Ratio of the largest to the smallest singular value; for pooled matrices, the largest ratio."
            ),
            reference="Golub, Van Loan 2013, section 2.6.2",
            summarised=False,
        ),
        Metric(
            name="log10_condition",
            description="Decimal logarithm of the condition number.",
            reference="Golub, Van Loan 2013, section 2.6.2",
        ),
        Metric(
            name="unresolved",
            unit="count",
            description="Number of eigenvalues below the resolution floor of the computation.",
            reference="Weyl's inequality",
            summarised=False,
        ),
    )
    accuracy = Accuracy.STORED
    Options = NoOptions

    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | float | int]:
        """Return every metric; of a zero matrix, only those that a zero matrix has."""
        # here and not above: the list of analyzers is printed without loading torch
        from rmtaudit.kernels.spectra import scale

        spectrum = given.spectrum
        values = spectrum.eigenvalues
        rank = scale.numerical_rank(
            spectrum, epsilon=given.epsilon, smallest_normal=smallest_normal(given.layer.dtype)
        )
        sizes: dict[str, MetricValue | float | int] = {
            "frobenius_norm": scale.frobenius_norm(values),
            "spectral_norm": scale.spectral_norm(values),
            "numerical_rank": rank,
            "rank_deficit": len(values) - rank,
            "unresolved": spectrum.unresolved,
        }
        if not values.max() > 0:
            return {metric.name: sizes.get(metric.name, ZERO_MATRIX) for metric in self.metrics}
        entropy = scale.spectral_entropy(values)
        condition = _condition(spectrum)
        return sizes | {
            "log10_frobenius_norm": math.log10(scale.frobenius_norm(values)),
            "log10_spectral_norm": math.log10(scale.spectral_norm(values)),
            "stable_rank": scale.stable_rank(values),
            "entropy": entropy / math.log(len(values)) if len(values) > 1 else skipped("one eigenvalue"),
            "effective_rank": math.exp(entropy),
            "condition": condition,
            "log10_condition": math.log10(condition) if isinstance(condition, float) else condition,
        }


def _condition(spectrum: Spectrum) -> float | MetricValue:
    from rmtaudit.kernels.spectra.scale import condition_bound, condition_number

    condition = condition_number(spectrum)
    if condition is not None:
        return condition
    floor = math.sqrt(spectrum.floor)
    bound = condition_bound(spectrum)
    if math.isinf(bound):
        return skipped("one of the pooled matrices is zero")
    return skipped(
        f"σ_min is unresolved: below the resolution floor {floor:.3g}; "
        f"the condition number is at least {bound:.3g}"
    )
