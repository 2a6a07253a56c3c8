"""The operations on tiles against their definitions, on views, with OpenBLAS and with torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.determinants import tile_algebra
from rmtaudit.kernels.spectra.openblas import load

SIDES = st.integers(1, 40)


@pytest.fixture(params=["openblas", "torch"], autouse=True)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(tile_algebra, "load", lambda: None)
    elif load() is None:
        pytest.skip("this scipy brings no OpenBLAS")
    return request.param


def _view(rows: int, cols: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows + 3, cols + 5, generator=generator, dtype=torch.float64)[
        2 : 2 + rows, 3 : 3 + cols
    ]


@settings(max_examples=25, deadline=None)
@given(SIDES, SIDES, SIDES, st.integers(0, 10**6))
def test_products_and_solutions(m: int, n: int, k: int, seed: int) -> None:
    C, A, B = _view(m, n, seed), _view(m, k, seed + 1), _view(n, k, seed + 2)
    wanted = C - A @ B.T
    tile_algebra.subtract_product(C, A, B)
    torch.testing.assert_close(C, wanted)
    S = _view(m, m, seed + 3)
    wanted = (S - A @ A.T).tril()
    tile_algebra.subtract_gram(S, A)
    torch.testing.assert_close(S.tril(), wanted)
    L, X = _view(k, k, seed + 4), _view(m, k, seed + 5)
    L.diagonal().abs_().add_(float(k))
    before = X.clone()
    tile_algebra.solve_right(L, X)
    torch.testing.assert_close(X @ L.tril().T, before)


@pytest.mark.parametrize("n", [1, 63, 300, 700])
def test_workers_divide_the_rows(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    A = torch.randn(n, 40, generator=generator, dtype=torch.float64)
    spd = A @ A.T + 40 * torch.eye(n, dtype=torch.float64)
    with tile_algebra.Workers(3) as workers:
        C = spd.clone()
        tile_algebra.subtract_gram(C, A, workers)
        torch.testing.assert_close(C.tril(), (spd - A @ A.T).tril())
        C = spd.clone()
        tile_algebra.subtract_product(C, A, A, workers)
        torch.testing.assert_close(C, spd - A @ A.T)
        L = spd.clone()
        assert tile_algebra.cholesky(L, workers) == (0, 0.0)
        torch.testing.assert_close(L.tril() @ L.tril().T, spd)
        X = spd.clone()
        tile_algebra.solve_right(L, X, workers)
        torch.testing.assert_close(X, L.tril())
        for k in {0, n // 2, n - 1}:
            broken = spd.clone()
            broken[k, k] = float(spd[k, k]) - float(L[k, k]) ** 2 - 1.5  # that pivot is left at -1.5
            failed, pivot = tile_algebra.cholesky(broken, workers)
            assert failed == k + 1
            assert pivot == pytest.approx(-1.5, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(0, 10**6))
def test_cholesky_names_the_first_minor_that_is_not_positive(n: int, seed: int) -> None:
    W = _view(n, n, seed)
    spd = W @ W.T + torch.eye(n, dtype=torch.float64)
    C = spd.clone()
    assert tile_algebra.cholesky(C) == (0, 0.0)
    torch.testing.assert_close(C.tril() @ C.tril().T, spd)
    k = seed % n
    pivot = -1.5
    C = spd.clone()
    C[k, k] = spd[k, :k] @ torch.linalg.solve(spd[:k, :k], spd[:k, k]) + pivot
    failed, found = tile_algebra.cholesky(C)
    assert failed == k + 1
    assert found == pytest.approx(pivot, abs=1e-6)
    leading = C[:k, :k].tril()
    torch.testing.assert_close(leading @ leading.T, spd[:k, :k])


def test_a_nan_is_a_pivot_that_fails() -> None:
    C = torch.eye(5, dtype=torch.float64)
    C[2, 2] = torch.nan
    failed, pivot = tile_algebra.cholesky(C)
    assert failed == 3
    assert np.isnan(pivot)


def test_arrays_that_the_foreign_side_must_not_see_are_refused() -> None:
    blas = load()
    if blas is None:
        pytest.skip("this scipy brings no OpenBLAS")
    good = np.zeros((4, 4))
    for bad in (np.zeros((4, 4), order="F"), np.zeros((4, 8))[:, ::2], np.zeros((4, 3)), good.astype("f4")):
        with pytest.raises((ValueError, TypeError)):
            blas.subtract_product(good, bad, good)
        with pytest.raises((ValueError, TypeError)):
            blas.solve_right(bad, good)
    frozen = np.zeros((4, 4))
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        blas.cholesky(frozen)
