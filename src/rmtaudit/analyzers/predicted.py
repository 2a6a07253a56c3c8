"""``predicted``: a spectrum that is beyond the memory budget, from random principal blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.analyzers.base import (
    Analysis,
    Analyzer,
    LayerInput,
    Metric,
    MetricValue,
    failed,
    skipped,
)
from rmtaudit.analyzers.law_numbers import FEWEST, MOST, NUMBERS, REFERENCE, SAMPLES, route_of, value_of

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.extrapolation import Prediction, Witness

_QUANTILES = (("lower_decile", 0.1), ("median", 0.5), ("upper_decile", 0.9))
_COPIES = 8
_CURVES = 110 << 20
"""Bytes: 92 to 177 MB were seen at blocks of 256 to 1024, by either route."""
_VECTORS = 8 * 8 * 60 * 5 // 2
"""Bytes a row and column: 8 probes of 60 steps (``witness.BATCH``, ``STEPS``), copied as they grow."""


@dataclass(frozen=True, slots=True)
class PredictedOptions:
    """Options of :class:`Predicted`.

    Attributes
    ----------
    block
        Order of a block at most, at least 128; no block is more than half of the smaller side.
    blocks
        How many are drawn.
    """

    block: int = MOST
    blocks: int = SAMPLES

    def __post_init__(self) -> None:
        if self.block < FEWEST or self.blocks < 1:
            raise ValueError(f"block must be at least {FEWEST}, and blocks at least 1")


class Predicted(Analyzer):
    """The bulk of a spectrum that is beyond the memory budget, from principal blocks, with a verdict."""

    name = "predicted"
    metrics = (
        Metric(
            name="predicted_verdict",
            description="Whether the layer's spectrum can be predicted from blocks of it: determined, "
            "determined if smooth, or refused.",
            reference=REFERENCE,
            summarised=False,
        ),
        Metric(
            name="predicted_route",
            description=("Method of the prediction: free decompression, or growth by rows of the same kind."),
            reference=REFERENCE,
            summarised=False,
        ),
        Metric(
            name="predicted_discrepancy",
            description=(
                "Largest distance, over 25 values of δ, of the predicted mean of λ/(λ + "
                "δ) from the bounds that products with the layer give; se is the "
                "standard error of the bounds."
            ),
            reference="Ubaru, Chen, Saad 2017",
            summarised=False,
        ),
        *(
            Metric(
                name=f"predicted_{name}",
                unit=unit,
                description=f"{words} of the layer itself.",
                reference=REFERENCE,
                summarised=False,
            )
            for name, _, unit, words in NUMBERS
        ),
        *(
            Metric(
                name=f"predicted_{name}",
                unit="w²",
                description=f"Predicted {level:.0%} quantile of the bulk of WᵀW of the layer itself.",
                reference=REFERENCE,
                summarised=False,
            )
            for name, level in _QUANTILES
        ),
    )
    needs = frozenset({"matrix"})
    stands_in = True
    Options = PredictedOptions

    def working_bytes(self, rows: int, cols: int) -> int:
        """Return the more of two: blocks and curves of the laws, and the vectors of the Lanczos process."""
        size = self._order(min(rows, cols))
        return max(_COPIES * 8 * size**2 + _CURVES, _VECTORS * (rows + cols))

    def analyze(self, given: LayerInput) -> Analysis:
        """Return every metric; those of a layer that cannot be predicted are skipped with the reason."""
        if len(given.matrices) != 1:
            return self._not_predicted(skipped(f"the layer is {len(given.matrices)} matrices"))
        n = min(given.matrices[0].shape)  # of a product of low rank, that of its core
        size = self._order(n)
        if size < FEWEST:
            return self._not_predicted(
                skipped(f"half of the smaller side is {n}, below the minimum of {FEWEST}")
            )
        generator = given.generator("predicted")
        try:
            prediction, products = predict_layer(given.matrices[0], size, self.options.blocks, generator)
        except (ArithmeticError, ValueError) as error:
            return self._not_predicted(failed(str(error)))
        values = named_numbers(prediction, products)
        origin = f"from {self.options.blocks} blocks of {size}: {prediction.verdict.word}"
        if prediction.law is None:
            return Analysis(values, remark=f"not predicted {origin}: {prediction.reason}")
        caveat = f" ({prediction.reason})" if prediction.reason else ""
        return Analysis(values, remark=f"predicted {origin}{caveat}")

    def _order(self, n: int) -> int:
        """Return the order of a block: of more than half the blocks would be much alike, and cost as much."""
        return min(int(self.options.block), n // 2)

    def _not_predicted(self, value: MetricValue) -> Analysis:
        return Analysis(self.each_metric(value), remark=f"not predicted from blocks: {value.reason}")


def predict_layer(
    matrix: torch.Tensor, size: int, blocks: int, generator: torch.Generator
) -> tuple[Prediction, Witness | None]:
    """Return :func:`predict_blocks`, refused where products with the layer contradict it, and what they say.

    The products are ``None`` where there is no prediction to compare with them.
    """
    from rmtaudit.kernels.counter import seed_of
    from rmtaudit.kernels.extrapolation import refuted, witness
    from rmtaudit.kernels.operators import gram

    prediction = predict_blocks(matrix, size, blocks, generator)
    if prediction.law is None:
        return prediction, None
    products = witness(prediction, gram(matrix), seed_of(generator))
    return refuted(prediction, products), products


def predict_blocks(matrix: torch.Tensor, size: int, blocks: int, generator: torch.Generator) -> Prediction:
    """Predict the spectrum of the Gram matrix of a layer's smaller side from random principal blocks.

    Neither that Gram matrix nor a copy of the layer is made.

    Parameters
    ----------
    matrix
        The layer, 2-D, floating.
    size
        Order of a block, below the smaller side.
    blocks
        How many.
    generator
        Source of the blocks and of the tests.

    Raises
    ------
    ValueError
        As :func:`rmtaudit.kernels.extrapolation.predict`.
    ArithmeticError
        Where squares leave the range of float64.
    """
    import torch

    from rmtaudit.kernels.extrapolation import predict
    from rmtaudit.kernels.spectra.gram import eigenvalues, principal_gram, tall

    vectors = tall(matrix)
    dimension, n = vectors.shape
    spectra: list[torch.Tensor] = []
    first: torch.Tensor | None = None
    for _ in range(blocks):
        chosen = torch.randperm(n, generator=generator)[:size].sort().values
        block = principal_gram(vectors, chosen).cpu()
        if not bool(torch.isfinite(block).all()):
            raise ArithmeticError("the squares of its weights leave the range of float64")
        spectra.append(eigenvalues(block))
        first = block if first is None else first
        del block
    return predict(torch.stack(spectra), n / size, generator=generator, matrix=first, dimension=dimension)


def named_numbers(prediction: Prediction, products: Witness | None) -> dict[str, MetricValue]:
    """Return the metrics of a prediction; the numbers of one that is refused are skipped with the reason."""
    import torch

    numbers = prediction.numbers()
    band = prediction.band(torch.tensor([level for _, level in _QUANTILES], dtype=torch.float64))
    values = {
        "predicted_verdict": MetricValue(value=prediction.verdict.word),
        "predicted_route": MetricValue(value=route_of(prediction)),
        "predicted_discrepancy": MetricValue(value=products.difference, se=products.standard_error)
        if products
        else value_of(prediction, None),
    }
    for name, functional, _, _ in NUMBERS:
        values[f"predicted_{name}"] = value_of(prediction, numbers.get(functional))
    for index, (name, _) in enumerate(_QUANTILES):
        values[f"predicted_{name}"] = value_of(prediction, band[index] if band else None)
    return values
