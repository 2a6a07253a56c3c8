"""The spectrum of a layer: which solver computes it, and in which arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmtaudit.kernels.spectra.accuracy import Accuracy, strictest
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues, pool, singular_values
from rmtaudit.kernels.spectra.narrow import LEAST_SIDE, SQUARE_FROM, float32_spectrum
from rmtaudit.matrices.layers import LayerKind
from rmtaudit.matrices.tensors import UNIT_ROUNDOFF, smallest_normal

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.scan.worker import LayerWork
    from rmtaudit.engine.settings.scan import Solver
    from rmtaudit.kernels.spectra.spectrum import Spectrum
    from rmtaudit.matrices.layers import Layer

AUTO_ACCURACY = 1e-7
"""Relative accuracy of every singular value that the solver ``auto`` guarantees."""

_HALF = UNIT_ROUNDOFF["float16"]
"""Unit round-off of the finest dtype whose spectra may be computed in float32."""


def spectrum_of(layer: Layer, matrices: tuple[torch.Tensor, ...], work: LayerWork) -> Spectrum:
    """Return the spectrum of the matrices of a layer, pooled where there are several.

    It is in float32 arithmetic where the setting ``precision`` allows it, the weights are stored in half
    precision or less, float32 is as exact as those are, and no analyzer asks for more.
    """
    accuracy = _accuracy(layer, work)
    if accuracy is Accuracy.FULL:
        return pool(tuple(_solve(matrix, work.solver) for matrix in matrices))
    return pool(tuple(_narrow(matrix, layer.dtype, accuracy) for matrix in matrices))


def narrow_expected(layer: Layer, work: LayerWork) -> bool:
    """Return whether the spectrum of a layer is expected in float32, before its weights are read.

    The weights decide in the end: the spectrum of a nearly singular matrix is computed again in float64.
    """
    rows, cols = layer.shape
    return _accuracy(layer, work) is not Accuracy.FULL and not rows == cols < SQUARE_FROM


def describe_spectrum(spectrum: Spectrum) -> dict[str, object]:
    """Return what the row of a layer says of its spectrum."""
    return {
        "method": spectrum.method,
        "precision": spectrum.precision,
        "eigenvalues": len(spectrum.eigenvalues),
        "unresolved": spectrum.unresolved,
        "floor": spectrum.floor,
        "error": spectrum.error_bound,
    }


def _accuracy(layer: Layer, work: LayerWork) -> Accuracy:
    """Return how exact the spectrum of a layer has to be: full, wherever less is not known to do."""
    as_stored = len(layer.tensors) == 1 and layer.kind is not LayerKind.ADAPTER
    if work.precision == "float64" or work.solver != "gram" or not as_stored:
        return Accuracy.FULL
    if UNIT_ROUNDOFF[layer.dtype] < _HALF or min(layer.shape) < LEAST_SIDE:
        return Accuracy.FULL
    wanted = (each.accuracy for each in work.analyzers_for(spectrum=True) if "spectrum" in each.needs)
    return strictest(wanted)


def _solve(matrix: torch.Tensor, solver: Solver) -> Spectrum:
    if solver == "svd":
        return singular_values(matrix)
    spectrum = gram_eigenvalues(matrix)
    # An error of `floor` in λ is a relative one of floor / 2λ in σ.
    smallest = float(spectrum.eigenvalues[0])
    if solver == "auto" and spectrum.floor > 2 * AUTO_ACCURACY * smallest:
        return singular_values(matrix)
    return spectrum


def _narrow(matrix: torch.Tensor, stored: str, accuracy: Accuracy) -> Spectrum:
    """Return the spectrum in float32 where that is exact enough, and in float64 where it is not."""
    spectrum = float32_spectrum(
        matrix,
        accuracy=accuracy,
        epsilon=UNIT_ROUNDOFF[stored],
        smallest_normal=smallest_normal(stored),
    )
    return gram_eigenvalues(matrix) if spectrum is None else spectrum
