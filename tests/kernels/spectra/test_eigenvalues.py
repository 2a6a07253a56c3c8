from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from rmtaudit.kernels.spectra import eigenvalues, openblas
from rmtaudit.kernels.spectra.eigenvalues import EPSILON, gram_eigenvalues, pool, singular_values


def gaussian(rows: int, cols: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (40, 40), (300, 20), (20, 300), (2, 20000)])
def test_gram_route_equals_the_singular_values(shape: tuple[int, int]) -> None:
    matrix = gaussian(*shape)
    exact = np.linalg.svd(matrix.double().numpy(), compute_uv=False)[::-1] ** 2
    for route in (gram_eigenvalues, singular_values):
        spectrum = route(matrix)
        np.testing.assert_allclose(
            spectrum.eigenvalues.numpy(), exact, rtol=0, atol=spectrum.floor + 1e-14 * exact[-1]
        )
        assert (spectrum.rows, spectrum.cols) == shape
        assert spectrum.method == "exact"


@pytest.mark.parametrize("shape", [(1000, 30), (30, 1000)])
def test_blocks_do_not_change_the_gram_matrix(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = gaussian(*shape)
    whole = gram_eigenvalues(matrix)
    monkeypatch.setattr(eigenvalues, "_BLOCK_BYTES", 8 * 30 * 100)
    blocked = gram_eigenvalues(matrix)
    torch.testing.assert_close(blocked.eigenvalues, whole.eigenvalues, rtol=1e-12, atol=0)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 40),
    cols=st.integers(1, 40),
    decades=st.floats(0, 9),
    seed=st.integers(0, 2**32),
)
def test_the_floor_bounds_the_error_of_every_eigenvalue(
    rows: int, cols: int, decades: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((rows, rows)))[0]
    right = np.linalg.qr(rng.standard_normal((cols, cols)))[0]
    n = min(rows, cols)
    matrix = left[:, :n] * np.logspace(0, -decades, n) @ right[:n]
    exact = np.linalg.svd(matrix, compute_uv=False)[::-1] ** 2
    spectrum = gram_eigenvalues(torch.from_numpy(matrix))
    error = np.abs(spectrum.eigenvalues.numpy() - exact)
    assert error.max() <= spectrum.floor
    assert spectrum.unresolved == int((spectrum.eigenvalues <= spectrum.floor).sum())
    assert spectrum.floor >= 32 * EPSILON * exact[-1] * 0.99


def test_larger_layers_stay_within_the_floor() -> None:
    for rows, cols, seed in ((512, 512, 1), (900, 300, 2), (256, 2000, 3)):
        matrix = gaussian(rows, cols, seed) * torch.logspace(0, -3, cols)
        exact = np.linalg.svd(matrix.double().numpy(), compute_uv=False)[::-1] ** 2
        spectrum = gram_eigenvalues(matrix)
        assert np.abs(spectrum.eigenvalues.numpy() - exact).max() <= spectrum.floor


def test_below_the_floor_nothing_is_reported_as_a_number() -> None:
    matrix = gaussian(200, 5, 1, torch.float64) @ gaussian(5, 100, 2, torch.float64)
    spectrum = gram_eigenvalues(matrix)
    assert spectrum.unresolved == 95
    assert spectrum.eigenvalues[:95].eq(0).all()
    assert len(spectrum.resolved) == 5


def test_the_svd_route_resolves_what_the_gram_route_cannot() -> None:
    sigma = torch.tensor([1.0, 1e-9, 1e-12], dtype=torch.float64)
    basis = torch.linalg.qr(gaussian(30, 3, 0, torch.float64)).Q
    other = torch.linalg.qr(gaussian(20, 3, 1, torch.float64)).Q
    matrix = basis * sigma @ other.T
    assert gram_eigenvalues(matrix).unresolved == 17 + 2
    resolved = singular_values(matrix).resolved.sqrt()
    torch.testing.assert_close(resolved[-3:], sigma.flip(0), rtol=1e-3, atol=0)


@pytest.mark.parametrize("scale", [1e-150, 1e-38, 1.0, 1e38, 1e150])
def test_scale_neither_under_nor_overflows(scale: float) -> None:
    matrix = gaussian(30, 20, dtype=torch.float64)
    reference = gram_eigenvalues(matrix).eigenvalues
    scaled = gram_eigenvalues(matrix * scale)
    torch.testing.assert_close(scaled.eigenvalues / scale / scale, reference, rtol=1e-9, atol=0)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_eigenvalues_beyond_float64_are_an_error(scale: float) -> None:
    with pytest.raises(ArithmeticError, match="beyond the range"):
        gram_eigenvalues(gaussian(30, 20, dtype=torch.float64) * scale)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    matrix = gaussian(5, 4)
    matrix[2, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        gram_eigenvalues(matrix)


@pytest.mark.parametrize("matrix", [torch.zeros(3), torch.zeros(0, 4), torch.zeros(2, 2, dtype=torch.int64)])
def test_what_is_no_matrix_is_refused(matrix: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="matrix"):
        gram_eigenvalues(matrix)


def test_the_zero_matrix_has_no_resolved_eigenvalue() -> None:
    spectrum = gram_eigenvalues(torch.zeros(4, 6))
    assert spectrum.unresolved == 4
    assert spectrum.floor == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_stored_dtypes_are_taken_exactly(dtype: torch.dtype) -> None:
    matrix = gaussian(50, 20).to(dtype)
    spectrum = gram_eigenvalues(matrix)
    assert spectrum.eigenvalues.dtype == torch.float64
    torch.testing.assert_close(
        spectrum.eigenvalues, gram_eigenvalues(matrix.double()).eigenvalues, rtol=1e-13, atol=0
    )


def test_the_matrix_is_not_changed() -> None:
    matrix = gaussian(20, 20, dtype=torch.float64)
    before = matrix.clone()
    gram_eigenvalues(matrix)
    singular_values(matrix)
    assert torch.equal(matrix, before)


def test_threads_and_the_two_stage_driver_change_nothing_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = gaussian(500, 400)
    with threadpool_limits(1):
        one = gram_eigenvalues(matrix).eigenvalues
    with threadpool_limits(2):
        two = gram_eigenvalues(matrix).eigenvalues
    monkeypatch.setattr(eigenvalues, "TWO_STAGE_FROM", 10)
    staged = gram_eigenvalues(matrix).eigenvalues
    torch.testing.assert_close(two, one, rtol=1e-9, atol=0)
    torch.testing.assert_close(staged, one, rtol=1e-9, atol=0)


def test_without_openblas_scipy_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = gaussian(120, 90)
    expected = gram_eigenvalues(matrix).eigenvalues
    monkeypatch.setattr(openblas, "load", lambda: None)
    torch.testing.assert_close(gram_eigenvalues(matrix).eigenvalues, expected, rtol=1e-11, atol=0)


def test_pooling_sorts_and_keeps_the_parts() -> None:
    parts = tuple(gram_eigenvalues(gaussian(9, 4, seed)) for seed in range(3))
    pooled = pool(parts)
    assert pooled.parts == parts
    assert torch.equal(pooled.eigenvalues, torch.cat([part.eigenvalues for part in parts]).sort().values)
    assert pool(parts[:1]) is parts[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu() -> None:
    matrix = gaussian(700, 300)
    torch.testing.assert_close(
        gram_eigenvalues(matrix.cuda()).eigenvalues, gram_eigenvalues(matrix).eigenvalues, rtol=1e-6, atol=0
    )
