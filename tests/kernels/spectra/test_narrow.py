"""Spectra in float32: as exact as the stored weights are, or refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.powerlaw.fit import NoFit, fit_power_law
from rmtaudit.kernels.spectra import narrow as kernel
from rmtaudit.kernels.spectra.accuracy import Accuracy, strictest
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues, pool
from rmtaudit.kernels.spectra.narrow import float32_spectrum
from rmtaudit.kernels.spectra.scale import condition_number, numerical_rank, stable_rank
from rmtaudit.kernels.spectra.spectrum import Spectrum

BFLOAT16 = 2.0**-8


def trained(rows: int, cols: int, seed: int = 0, strength: float = 2.0) -> torch.Tensor:
    """Return noise plus a product of two Gaussian factors, rounded to bfloat16."""
    draws = torch.Generator().manual_seed(seed)
    noise = torch.randn(rows, cols, generator=draws)
    signal = torch.randn(rows, 4, generator=draws) @ torch.randn(4, cols, generator=draws)
    reach = (math.sqrt(rows) + math.sqrt(cols)) / math.sqrt(rows * cols)
    return (0.02 * (noise + strength * reach * signal)).bfloat16().float()


def narrow(matrix: torch.Tensor, accuracy: Accuracy = Accuracy.STORED) -> Spectrum | None:
    return float32_spectrum(matrix, accuracy=accuracy, epsilon=BFLOAT16)


@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(130, 400),
    cols=st.integers(40, 60),
    strength=st.floats(0, 6),
    wide=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_every_singular_value_is_as_exact_as_the_stored_weights(
    seed: int, rows: int, cols: int, strength: float, wide: bool
) -> None:
    W = trained(rows, cols, seed, strength)
    W = W.T.contiguous() if wide else W
    found, exact = narrow(W), gram_eigenvalues(W)
    assert found is not None
    assert (found.precision, found.unresolved, found.method) == ("float32", 0, "exact")
    assert (found.rows, found.cols) == tuple(W.shape)
    assert float((found.eigenvalues - exact.eigenvalues).abs().max()) <= found.floor
    rms = float(W.double().square().mean().sqrt())
    rounding = BFLOAT16 / math.sqrt(3) * rms * (math.sqrt(rows) + math.sqrt(cols))
    assert float((found.eigenvalues.sqrt() - exact.eigenvalues.sqrt()).abs().max()) <= rounding
    assert numerical_rank(found, epsilon=BFLOAT16) == numerical_rank(exact, epsilon=BFLOAT16)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_made_of_the_large_values_agrees(seed: int) -> None:
    W = trained(900, 300, seed)
    found, exact = narrow(W), gram_eigenvalues(W)
    assert found is not None
    compare_numbers(found, exact)
    ours, theirs = condition_number(found), condition_number(exact)
    assert ours is not None
    assert ours == pytest.approx(theirs, rel=1e-4)


def compare_numbers(found: Spectrum, exact: Spectrum) -> None:
    fits = [fit_power_law(each.resolved, min_tail=8, stability=False) for each in (found, exact)]
    ours, theirs = fits
    assert not isinstance(ours, NoFit)
    assert not isinstance(theirs, NoFit)
    assert ours.tail_size == theirs.tail_size
    assert ours.alpha == pytest.approx(theirs.alpha, abs=3e-4)
    assert ours.xmin == pytest.approx(theirs.xmin, rel=3e-4)
    assert ours.ks_distance == pytest.approx(theirs.ks_distance, abs=3e-4)
    assert stable_rank(found.eigenvalues) == pytest.approx(stable_rank(exact.eigenvalues), rel=1e-4)


def test_layers_of_a_real_model_in_bfloat16_agree(minilm: Path) -> None:
    from safetensors import safe_open

    with safe_open(minilm, "pt") as file:
        for block in (0, 3, 5):
            for part in ("intermediate", "output"):
                W = file.get_tensor(f"encoder.layer.{block}.{part}.dense.weight").bfloat16().float()
                found, exact = narrow(W), gram_eigenvalues(W)
                assert found is not None
                compare_numbers(found, exact)
                assert numerical_rank(found, epsilon=BFLOAT16) == numerical_rank(exact, epsilon=BFLOAT16)


@pytest.mark.parametrize(("seed", "strength"), [(0, 0.0), (1, 0.5), (2, 1.0)])
def test_the_smallest_values_of_a_square_matrix_are_computed_apart(
    seed: int, strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    W = trained(500, 500, seed, strength)
    assert narrow(W) is None  # it is not worth it
    monkeypatch.setattr(kernel, "SQUARE_FROM", 64)
    found, exact = narrow(W), gram_eigenvalues(W)
    assert found is not None
    assert found.floor < float(found.eigenvalues[0]) < found.error == found.error_bound
    assert float((found.eigenvalues - exact.eigenvalues).abs().max()) <= found.error
    assert condition_number(found) == pytest.approx(condition_number(exact), rel=1e-5)
    assert numerical_rank(found, epsilon=BFLOAT16) == numerical_rank(exact, epsilon=BFLOAT16)
    compare_numbers(found, exact)


def test_small_singular_values_are_left_to_float64() -> None:
    tall = trained(300, 100)
    tall[:, 7] = 0.0
    square, orthogonal = trained(200, 200), torch.linalg.qr(trained(400, 100)).Q.bfloat16().float()
    low_rank = (torch.randn(300, 5) @ torch.randn(5, 100)).bfloat16().float()
    for matrix in (tall, square, orthogonal, low_rank):
        assert narrow(matrix) is None
    assert narrow(orthogonal, Accuracy.LARGE) is not None


def test_a_few_small_values_do_no_harm_to_the_large_ones() -> None:
    few = trained(1000, 300)
    few[:, :5] = 0.0
    found, exact = narrow(few, Accuracy.LARGE), gram_eigenvalues(few)
    assert narrow(few) is None
    assert found is not None
    assert found.unresolved == exact.unresolved == 5
    compare_numbers(found, exact)
    many = few.clone()
    many[:, :20] = 0.0
    assert narrow(many, Accuracy.LARGE) is None


def test_float32_is_refused_where_it_loses_digits() -> None:
    W = trained(300, 60)
    assert float32_spectrum(W, accuracy=Accuracy.FULL, epsilon=BFLOAT16) is None
    assert float32_spectrum(W, accuracy=Accuracy.LARGE, epsilon=2.0**-24) is None  # stored in float32
    for matrix in (W.double(), W * 2.0**-60, W * 2.0**60, torch.zeros_like(W)):
        assert narrow(matrix, Accuracy.LARGE) is None


def test_a_signal_that_dwarfs_the_bulk_is_left_to_float64() -> None:
    assert narrow(trained(300, 100, strength=3.0)) is not None
    assert narrow(trained(300, 100, strength=2000.0)) is None
    assert narrow(trained(300, 100, strength=2000.0), Accuracy.LARGE) is None


def test_a_pool_has_the_coarsest_precision() -> None:
    W = trained(300, 60)
    found = narrow(W)
    assert found is not None
    assert pool((found, gram_eigenvalues(W))).precision == "float32"
    assert pool((gram_eigenvalues(W), gram_eigenvalues(W))).precision == "float64"


def test_the_strictest_accuracy_decides() -> None:
    assert strictest([Accuracy.LARGE, Accuracy.STORED]) is Accuracy.STORED
    assert strictest([Accuracy.LARGE, Accuracy.FULL, Accuracy.STORED]) is Accuracy.FULL
    assert strictest([Accuracy.LARGE]) is Accuracy.LARGE
    assert strictest([]) is Accuracy.FULL
