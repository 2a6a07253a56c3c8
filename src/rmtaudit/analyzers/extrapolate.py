"""``extrapolate``: the spectrum that the layer would have at twice and four times its width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.analyzers.base import Analyzer, LayerInput, Metric, MetricValue, Scalar, failed, skipped
from rmtaudit.analyzers.law_numbers import FEWEST, MOST, NUMBERS, REFERENCE, SAMPLES, route_of, value_of

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.extrapolation import Prediction

_FACTORS = (2, 4)


@dataclass(frozen=True, slots=True)
class ExtrapolateOptions:
    """Options of :class:`Extrapolate`.

    Attributes
    ----------
    block
        Order of the block from which the whole layer is predicted, to be compared with its exact spectrum;
        0: a quarter of the layer.
    replicas
        Replicas behind the intervals: 0 for none, or at least 2.
    """

    block: int = 0
    replicas: int = 10

    def __post_init__(self) -> None:
        if self.block < 0 or self.replicas < 0 or self.replicas == 1:
            raise ValueError("block must be 0 or positive, and replicas must be 0 or at least 2")


class Extrapolate(Analyzer):
    """The spectrum at 2 and 4 times the smaller side, with a verdict and a check on the layer itself."""

    name = "extrapolate"
    metrics = (
        Metric(
            name="extrapolation_verdict",
            description="Whether a larger layer of the same kind can be predicted: determined, determined "
            "if smooth, or refused.",
            reference=REFERENCE,
            summarised=False,
        ),
        Metric(
            name="extrapolation_route",
            description=("Method of the prediction: free decompression, or growth by rows of the same kind."),
            reference=REFERENCE,
            summarised=False,
        ),
        Metric(
            name="extrapolation_ks",
            description=(
                "Kolmogorov-Smirnov distance between the layer's exact spectrum and the "
                "one predicted from a block."
            ),
            reference=REFERENCE,
        ),
        *(
            Metric(
                name=f"{name}_at_{factor}x",
                unit=unit,
                description=f"{words} at {factor} times the smaller side.",
                reference=REFERENCE,
            )
            for factor in _FACTORS
            for name, _, unit, words in NUMBERS
        ),
    )
    needs = frozenset({"spectrum", "matrix"})
    Options = ExtrapolateOptions

    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | Scalar]:
        """Return every metric; those of a layer that cannot be predicted are skipped with the reason."""
        n = min(given.layer.shape)
        if len(given.matrices) != 1:
            return self.each_metric(skipped(f"the layer is {len(given.matrices)} matrices"))
        if n < FEWEST:
            return self.each_metric(
                skipped(
                    f"the smaller side is {n}: a prediction from fewer than {FEWEST} rows cannot be validated"
                )
            )
        try:
            gram, dimension = _gram(given.matrices[0])
            predictions = {factor: self._predict(gram, dimension, factor, given) for factor in _FACTORS}
            own = self._checked(gram, dimension, given)
        except (ArithmeticError, ValueError) as error:
            return self.each_metric(failed(str(error)))
        worst = max(predictions.values(), key=lambda one: (one.verdict.refused, len(one.verdict.assumptions)))
        values: dict[str, MetricValue | Scalar] = {
            "extrapolation_verdict": worst.verdict.word,
            "extrapolation_route": route_of(worst),
            "extrapolation_ks": own,
        }
        for factor, prediction in predictions.items():
            numbers = prediction.numbers()
            for name, functional, _, _ in NUMBERS:
                values[f"{name}_at_{factor}x"] = value_of(prediction, numbers.get(functional))
        return values

    def _predict(self, gram: torch.Tensor, dimension: int, factor: int, given: LayerInput) -> Prediction:
        import torch

        from rmtaudit.kernels.extrapolation import predict

        generator = given.generator(f"extrapolate {factor}x")
        n = len(gram)
        if n <= MOST:
            spectra, block = torch.linalg.eigvalsh(gram).clamp(min=0), gram
        else:
            drawn = [torch.randperm(n, generator=generator)[:MOST].sort().values for _ in range(SAMPLES)]
            block = gram[drawn[0]][:, drawn[0]]
            spectra = torch.stack([torch.linalg.eigvalsh(gram[one][:, one]).clamp(min=0) for one in drawn])
        return predict(
            spectra,
            factor * n / spectra.shape[-1],
            generator=generator,
            matrix=block,
            dimension=dimension,
            replicas=self.options.replicas,
        )

    def _checked(self, gram: torch.Tensor, dimension: int, given: LayerInput) -> MetricValue:
        """Return how far the exact spectrum is from the one predicted from a block."""
        import torch

        from rmtaudit.kernels.extrapolation import predict
        from rmtaudit.kernels.free.validation import ks_distance

        n = len(gram)
        size = self.options.block or min(n // 4, MOST)
        if size < FEWEST:
            return skipped(f"a block of {size} rows is smaller than {FEWEST}")
        if size >= n:
            return skipped(f"a block of {size} rows does not fit into a layer whose smaller side is {n}")
        generator = given.generator("extrapolate from a block")
        chosen = torch.randperm(n, generator=generator)[:size]
        block = gram[chosen][:, chosen]
        prediction = predict(
            torch.linalg.eigvalsh(block).clamp(min=0),
            n / size,
            generator=generator,
            matrix=block,
            dimension=dimension,
            replicas=0,
        )
        if prediction.law is None:
            return skipped(f"{prediction.verdict.word}: {prediction.reason}")
        exact = given.spectrum.eigenvalues.double().cpu()
        rest = exact[: len(exact) - len(prediction.spikes)]
        return MetricValue(value=ks_distance(prediction.quantiles(len(rest)), rest))


def _gram(matrix: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Return the Gram matrix of the smaller side, float64 on the CPU, and the larger side."""
    wide = matrix.double().cpu()
    rows, cols = wide.shape
    return (wide.T @ wide, rows) if rows >= cols else (wide @ wide.T, cols)
