"""The smallest singular values of a square matrix, from its triangular factors in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.spectra import openblas, smallest
from rmtaudit.kernels.spectra.smallest import smallest_singular_values

LIBRARY = openblas.load()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="SciPy and NumPy ship no OpenBLAS here")


@given(n=st.integers(40, 160), count=st.integers(1, 10), decades=st.floats(2, 4), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_the_bounds_hold(n: int, count: int, decades: float, seed: int) -> None:
    assert LIBRARY is not None
    draws = torch.Generator().manual_seed(seed)
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=draws).double()).Q for _ in range(2))
    W = (left * torch.logspace(0, -decades, n, dtype=torch.float64) @ right).float()
    exact = torch.linalg.svdvals(W.double()).flip(0)[:count]
    found = smallest_singular_values(W, count, LIBRARY, tolerance=1e-2)
    assert found is not None
    assert bool(((found.values - exact).abs() <= found.errors + 1e-14).all())
    assert float(found.errors.max()) <= 1e-2


def test_noise_is_resolved_far_below_what_its_gram_matrix_resolves() -> None:
    assert LIBRARY is not None
    W = torch.randn(400, 400, generator=torch.Generator().manual_seed(2))
    exact = torch.linalg.svdvals(W.double()).flip(0)[:5]
    found = smallest_singular_values(W, 5, LIBRARY, tolerance=1e-2)
    assert found is not None
    np.testing.assert_allclose(found.values, exact, rtol=1e-4)


def test_there_is_none_of_a_singular_or_a_small_matrix() -> None:
    assert LIBRARY is not None
    W = torch.randn(60, 60, generator=torch.Generator().manual_seed(2))
    assert smallest_singular_values(W, 30, LIBRARY, tolerance=1.0) is None
    W[:, 3] = 0.0
    assert smallest_singular_values(W, 5, LIBRARY, tolerance=1.0) is None


def test_the_smallest_value_is_told_from_zero_whatever_the_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LIBRARY is not None
    monkeypatch.setattr(smallest, "_ROUNDS", (1, 3, 3))
    draws = torch.Generator().manual_seed(3)
    left, right = (torch.linalg.qr(torch.randn(80, 80, generator=draws).double()).Q for _ in range(2))
    sigma = torch.linspace(1, 0.0125, 80, dtype=torch.float64)
    sigma[-1] = 1e-5
    W = (left * sigma @ right).float()
    result = smallest_singular_values(W, 3, LIBRARY, tolerance=10.0)
    assert result is not None
    assert float(result.values[0]) > 2 * float(result.errors[0])
    assert abs(float(result.values[0]) - float(torch.linalg.svdvals(W.double())[-1])) < 1e-9


def test_a_tolerance_that_is_not_met_is_an_answer() -> None:
    assert LIBRARY is not None
    W = torch.randn(60, 60, generator=torch.Generator().manual_seed(2))
    assert smallest_singular_values(W, 5, LIBRARY, tolerance=1e-30) is None


@pytest.mark.parametrize("transposed", [False, True])
def test_solve_is_the_inverse(transposed: bool) -> None:
    assert LIBRARY is not None
    W = np.random.default_rng(1).standard_normal((30, 30)).astype(np.float32)
    factors = W.copy()
    pivots = LIBRARY.factor(factors)
    wanted = np.random.default_rng(2).standard_normal((4, 30)).astype(np.float32)
    vectors = wanted @ (W if transposed else W.T)
    LIBRARY.solve(factors, pivots, vectors, transposed=transposed)
    np.testing.assert_allclose(vectors, wanted, atol=1e-3)
    with pytest.raises(ValueError, match="pivots"):
        LIBRARY.solve(factors, pivots + 30, vectors)
