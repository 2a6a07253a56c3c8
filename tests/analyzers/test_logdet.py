"""The analyzer logdet: exact sums, their bounds, and layers that have no log-determinant."""

from __future__ import annotations

import math

import pytest
import torch

from rmtaudit.analyzers.base import LayerInput, MetricValue
from rmtaudit.analyzers.contract import AnalyzerContract
from rmtaudit.analyzers.logdet import LogDet
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues, pool, singular_values
from rmtaudit.kernels.spectra.spectrum import Spectrum
from rmtaudit.matrices.layers import Layer, LayerKind


class TestContract(AnalyzerContract):
    analyzer = LogDet()


def layer_input(spectrum: Spectrum, matrices: int = 1) -> LayerInput:
    layer = Layer(
        name="layer",
        tensor="layer",
        tensors=("layer",),
        kind=LayerKind.DENSE,
        view="as stored",
        shape=(spectrum.rows, spectrum.cols),
        matrices=matrices,
        parameters=matrices * spectrum.rows * spectrum.cols,
        dtype="float32",
        build=lambda tensors: tensors,
    )
    return LayerInput(layer=layer, spectrum=spectrum)


def gaussian(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def values(spectrum: Spectrum, matrices: int = 1) -> dict[str, MetricValue | float]:
    return dict(LogDet().analyze(layer_input(spectrum, matrices)))


@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (30, 30)])
def test_the_log_determinant_of_the_smaller_side(shape: tuple[int, int]) -> None:
    W = gaussian(*shape)
    found = values(gram_eigenvalues(W))
    gram = W.T @ W if shape[0] >= shape[1] else W @ W.T
    truth = float(torch.linalg.slogdet(gram).logabsdet)
    value, volume = found["logdet"], found["log_volume"]
    assert isinstance(value, MetricValue)
    assert isinstance(volume, MetricValue)
    assert value.value == pytest.approx(truth, abs=1e-9)
    assert value.ci is not None
    assert value.ci[0] <= truth <= value.ci[1]
    assert volume.value == pytest.approx(truth / (2 * min(shape)))
    assert found["pseudo_logdet"] == value
    assert found["pseudo_rank"] == min(shape)


@pytest.mark.parametrize("decades", [2, 4, 6])
def test_the_interval_holds_the_truth_of_ill_conditioned_layers(decades: int) -> None:
    left, right = (torch.linalg.qr(gaussian(80, 50, seed)).Q for seed in (1, 2))
    sigma = torch.logspace(0, -decades, 50, dtype=torch.float64)
    W = left @ torch.diag(sigma) @ torch.linalg.qr(right[:50]).Q.T
    truth = 2 * float(torch.linalg.svdvals(W).log().sum())  # to 1e-16/1e-6 of each: far within the interval
    found = values(gram_eigenvalues(W))["logdet"]
    assert isinstance(found, MetricValue)
    assert found.ci is not None
    assert found.ci[0] <= truth <= found.ci[1]
    assert found.value == pytest.approx(truth, abs=(found.ci[1] - found.ci[0]) / 2)


def test_unresolved_eigenvalues_leave_a_pseudo_determinant_with_its_rank() -> None:
    W = torch.diag(torch.tensor([3.0, 2.0, 1e-12, 0.0], dtype=torch.float64))
    found = values(gram_eigenvalues(W))
    for name in ("logdet", "log_volume"):
        value = found[name]
        assert isinstance(value, MetricValue)
        assert value.status == "skipped"
        assert "2 of 4 eigenvalues are unresolved" in value.reason
    pseudo = found["pseudo_logdet"]
    assert isinstance(pseudo, MetricValue)
    assert pseudo.value == pytest.approx(math.log(36))
    assert found["pseudo_rank"] == 2


def test_the_ceiling_of_a_log_determinant_that_is_not_known_holds() -> None:
    sigma = torch.tensor([3.0, 2.0, 1e-9], dtype=torch.float64)
    reason = values(gram_eigenvalues(torch.diag(sigma)))["logdet"]
    assert isinstance(reason, MetricValue)
    ceiling = float(reason.reason.rsplit(" ", 1)[1])
    assert 2 * float(sigma.log().sum()) < ceiling
    resolved = values(singular_values(torch.diag(sigma)))["logdet"]
    assert isinstance(resolved, MetricValue)
    assert resolved.value == pytest.approx(2 * float(sigma.log().sum()))


def test_pooled_matrices_add_up() -> None:
    matrices = (gaussian(30, 20), gaussian(30, 20, 1))
    each = [values(gram_eigenvalues(W)) for W in matrices]
    found = values(pool(tuple(gram_eigenvalues(W) for W in matrices)), 2)
    parts = [one["logdet"].value for one in each if isinstance(one["logdet"], MetricValue)]
    total = sum(part for part in parts if isinstance(part, float))
    assert len(parts) == 2
    assert isinstance(found["logdet"], MetricValue)
    assert found["logdet"].value == pytest.approx(total)
    assert isinstance(found["log_volume"], MetricValue)
    assert found["log_volume"].value == pytest.approx(total / 80)


def test_an_estimated_spectrum_is_not_summed() -> None:
    exact = gram_eigenvalues(gaussian(30, 20))
    guess = Spectrum(
        eigenvalues=exact.eigenvalues, rows=30, cols=20, method="lanczos", floor=exact.floor, unresolved=0
    )
    found = values(guess)
    assert all(isinstance(value, MetricValue) and value.status == "skipped" for value in found.values())
