"""The scale analyzer: every metric of ordinary layers, and reasons where there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from rmtaudit.analyzers.base import LayerInput, MetricValue
from rmtaudit.analyzers.contract import AnalyzerContract
from rmtaudit.analyzers.scale import Scale
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues, pool
from rmtaudit.matrices.layers import Layer, LayerKind


class TestContract(AnalyzerContract):
    analyzer = Scale()


def layer_input(*matrices: torch.Tensor, dtype: str = "float32") -> LayerInput:
    rows, cols = matrices[0].shape
    layer = Layer(
        name="layer",
        tensor="layer",
        tensors=("layer",),
        kind=LayerKind.DENSE,
        view="as stored",
        shape=(rows, cols),
        matrices=len(matrices),
        parameters=len(matrices) * rows * cols,
        dtype=dtype,
        build=lambda tensors: tensors,
    )
    epsilon = torch.finfo(getattr(torch, dtype)).eps / 2 if "float" in dtype else 2.0**-53
    return LayerInput(
        layer=layer, spectrum=pool(tuple(gram_eigenvalues(matrix) for matrix in matrices)), epsilon=epsilon
    )


def gaussian(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


def test_every_promised_metric_and_no_other() -> None:
    analyzer = Scale()
    for given in (
        layer_input(gaussian(40, 30)),
        layer_input(torch.zeros(8, 8)),
        layer_input(torch.ones(1, 5)),
    ):
        assert set(analyzer.analyze(given)) == {metric.name for metric in analyzer.active_metrics()}


def test_an_ordinary_layer() -> None:
    W = gaussian(60, 40)
    found: Mapping[str, Any] = Scale().analyze(layer_input(W))
    assert found["frobenius_norm"] == pytest.approx(torch.linalg.matrix_norm(W.double()).item())
    assert found["spectral_norm"] == pytest.approx(torch.linalg.matrix_norm(W.double(), 2).item())
    assert found["log10_spectral_norm"] == pytest.approx(math.log10(found["spectral_norm"]))
    assert found["log10_frobenius_norm"] == pytest.approx(math.log10(found["frobenius_norm"]))
    assert found["stable_rank"] == pytest.approx((found["frobenius_norm"] / found["spectral_norm"]) ** 2)
    assert found["effective_rank"] == pytest.approx(40 ** found["entropy"])
    assert found["condition"] == pytest.approx(torch.linalg.cond(W.double()).item())
    assert found["log10_condition"] == pytest.approx(math.log10(found["condition"]))
    assert (found["numerical_rank"], found["rank_deficit"], found["unresolved"]) == (40, 0, 0)


def test_a_layer_of_low_rank() -> None:
    W = gaussian(60, 5) @ gaussian(5, 40, 1)
    found = Scale().analyze(layer_input(W))
    assert (found["numerical_rank"], found["rank_deficit"]) == (5, 35)


def test_a_condition_that_cannot_be_had_is_bounded() -> None:
    W = torch.diag(torch.tensor([1.0] * 9 + [0.0]))
    found = Scale().analyze(layer_input(W))
    for name in ("condition", "log10_condition"):
        value = found[name]
        assert isinstance(value, MetricValue)
        assert value.status == "skipped"
        assert "at least" in value.reason


def test_a_zero_matrix_has_norms_and_reasons() -> None:
    found = Scale().analyze(layer_input(torch.zeros(8, 6)))
    assert found["frobenius_norm"] == found["spectral_norm"] == 0
    assert (found["numerical_rank"], found["rank_deficit"]) == (0, 6)
    for name in ("log10_spectral_norm", "stable_rank", "entropy", "effective_rank", "condition"):
        value = found[name]
        assert isinstance(value, MetricValue)
        assert (value.status, value.reason) == ("failed", "the matrix is zero")


def test_one_eigenvalue_has_no_relative_entropy() -> None:
    found = Scale().analyze(layer_input(torch.ones(1, 5)))
    assert isinstance(found["entropy"], MetricValue)
    assert found["entropy"].status == "skipped"
    assert found["effective_rank"] == 1


def test_pooled_matrices() -> None:
    matrices = (gaussian(30, 20), gaussian(30, 4, 1) @ gaussian(4, 20, 2), torch.zeros(30, 20))
    found = Scale().analyze(layer_input(*matrices))
    total = math.sqrt(sum(float(W.double().square().sum()) for W in matrices))
    assert found["frobenius_norm"] == pytest.approx(total)
    assert (found["numerical_rank"], found["rank_deficit"]) == (24, 36)
    assert isinstance(found["condition"], MetricValue)
    assert "zero" in found["condition"].reason


def test_float16_rounds_small_weights_to_a_grid() -> None:
    W = (1e-6 * gaussian(100, 4) @ gaussian(4, 60, 1)).half().float()
    assert Scale().analyze(layer_input(W, dtype="float16"))["numerical_rank"] == 4


def test_dtypes_that_are_not_floating_are_taken_as_exact() -> None:
    assert Scale().analyze(layer_input(gaussian(30, 20), dtype="int8"))["rank_deficit"] == 0
