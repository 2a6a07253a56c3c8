"""``predicted``: what may be said of a layer's spectrum that is beyond the memory budget, from blocks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.analyzers.base import (
    Analysis,
    Analyzer,
    LayerInput,
    Metric,
    MetricValue,
    Scalar,
    failed,
    skipped,
)
from rmtaudit.analyzers.law_numbers import FEWEST, MOST, NUMBERS, REFERENCE, SAMPLES, route_of, value_of

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.extrapolation import Prediction

_QUANTILES = (("lower_decile", 0.1), ("median", 0.5), ("upper_decile", 0.9))
_COPIES = 8
_CURVES = 110 << 20
"""Bytes: 103 to 168 MB were seen at blocks of 256 to 1024, by either route."""


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
            raise ValueError(f"block is at least {FEWEST} and blocks at least 1")


class Predicted(Analyzer):
    """The bulk of a spectrum that is beyond the memory budget, from principal blocks, with a verdict."""

    name = "predicted"
    metrics = (
        Metric(
            "predicted_verdict",
            "",
            None,
            "Whether the layer's spectrum can be predicted from blocks of it: decompressible, baseline as "
            "good, or not decompressible.",
            REFERENCE,
            summarised=False,
        ),
        Metric(
            "predicted_route",
            "",
            None,
            "What the prediction is by: free decompression, or growth by rows of the same kind.",
            REFERENCE,
            summarised=False,
        ),
        *(
            Metric(f"predicted_{name}", unit, None, f"{words} of the layer itself.", REFERENCE, False)
            for name, _, unit, words in NUMBERS
        ),
        *(
            Metric(
                f"predicted_{name}",
                "w²",
                None,
                f"Predicted {level:.0%} quantile of the bulk of WᵀW of the layer itself.",
                REFERENCE,
                summarised=False,
            )
            for name, level in _QUANTILES
        ),
    )
    needs = frozenset({"matrix"})
    stands_in = True
    Options = PredictedOptions

    def working_bytes(self, rows: int, cols: int) -> int:
        """Return what a block, the copies that its tests make, and the curves of the laws take."""
        size = self._order(min(rows, cols))
        return _COPIES * 8 * size**2 + _CURVES

    def analyze(self, given: LayerInput) -> Analysis:
        """Return every metric; those of a layer that cannot be predicted are skipped with the reason."""
        n = min(given.layer.shape)
        size = self._order(n)
        if len(given.matrices) != 1:
            return self._none(skipped(f"the layer is {len(given.matrices)} matrices"))
        if size < FEWEST:
            return self._none(skipped(f"half of the smaller side, {n}, is fewer than {FEWEST}"))
        generator = given.generator("predicted")
        try:
            found = predict_layer(given.matrices[0], size, self.options.blocks, generator)
        except (ArithmeticError, ValueError) as error:
            return self._none(failed(str(error)))
        said = f"from {self.options.blocks} blocks of {size}: {found.verdict}"
        if found.law is None:
            return Analysis(_named(found), remark=f"not predicted {said}: {found.reason}")
        return Analysis(_named(found), remark=f"predicted {said}")

    def _order(self, n: int) -> int:
        """Return the order of a block: of more than half the blocks would be much alike, and cost as much."""
        return min(int(self.options.block), n // 2)

    def _none(self, value: MetricValue) -> Analysis:
        values = {metric.name: value for metric in self.active_metrics()}
        return Analysis(values, remark=f"not predicted from blocks: {value.reason}")


def predict_layer(matrix: torch.Tensor, size: int, blocks: int, generator: torch.Generator) -> Prediction:
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
    from rmtaudit.kernels.gram import eigenvalues, principal_gram, tall

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


def _named(found: Prediction) -> dict[str, MetricValue | Scalar]:
    import torch

    numbers = found.numbers()
    band = found.band(torch.tensor([level for _, level in _QUANTILES], dtype=torch.float64))
    values: dict[str, MetricValue | Scalar] = {
        "predicted_verdict": found.verdict,
        "predicted_route": route_of(found),
    }
    for name, functional, _, _ in NUMBERS:
        values[f"predicted_{name}"] = value_of(found, numbers.get(functional))
    for index, (name, _) in enumerate(_QUANTILES):
        values[f"predicted_{name}"] = value_of(found, band[index] if band else None)
    return values
