from __future__ import annotations

import numpy as np
import pytest
import torch

from rmtaudit.kernels.spectra import openblas


@pytest.fixture
def library() -> openblas.OpenBLAS:
    found = openblas.load()
    if found is None:
        pytest.skip("this SciPy and NumPy ship no OpenBLAS with the two-stage driver")
    return found


@pytest.mark.parametrize("driver", ["dsyevd", "dsyevd_2stage"])
@pytest.mark.parametrize("n", [1, 2, 3, 31, 200])
def test_eigenvalues_equal_numpy(library: openblas.OpenBLAS, driver: openblas.Driver, n: int) -> None:
    matrix = np.random.default_rng(n).standard_normal((n, n))
    symmetric = matrix + matrix.T
    expected = np.linalg.eigvalsh(symmetric)
    upper = np.triu(symmetric)  # the strict lower triangle must not be read
    found = library.symmetric_eigenvalues(upper + np.tril(np.full((n, n), 7.0), -1), driver)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * n * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("n", [1, 2, 3, 31, 200])
def test_eigenvalues_of_a_float32_matrix(library: openblas.OpenBLAS, n: int) -> None:
    matrix = np.random.default_rng(n).standard_normal((n, n)).astype(np.float32)
    symmetric = matrix + matrix.T
    expected = np.linalg.eigvalsh(symmetric.astype(np.float64))
    upper = np.triu(symmetric)  # the strict lower triangle must not be read
    found = library.float32_eigenvalues(upper + np.tril(np.full((n, n), 7.0, dtype=np.float32), -1))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * max(1.0, np.abs(expected).max()))
    with pytest.raises(TypeError, match="float32"):
        library.float32_eigenvalues(symmetric.astype(np.float64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 50, 200])
def test_factors_of_an_indefinite_matrix(library: openblas.OpenBLAS, dtype: type, n: int) -> None:
    """As PyTorch takes them: it solves with them, and their signs are those of the eigenvalues."""
    matrix: np.ndarray = np.random.default_rng(n).standard_normal((n, n)).astype(dtype)
    symmetric = matrix + matrix.T
    factors = symmetric.copy()
    pivots = library.factor_indefinite(factors)
    right = torch.ones(n, 1, dtype=torch.from_numpy(symmetric).dtype)
    solved = torch.linalg.ldl_solve(torch.from_numpy(factors).T, torch.from_numpy(pivots), right)
    tolerance = 1e-10 if dtype is np.float64 else 2e-3
    np.testing.assert_allclose(symmetric @ solved.numpy(), right.numpy(), rtol=0, atol=tolerance)
    single = pivots > 0
    positive = int((factors.diagonal()[single] > 0).sum()) + int((~single).sum()) // 2
    assert positive == int((np.linalg.eigvalsh(symmetric) > 0).sum())


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (3, 7), (300, 40)])
def test_gram_accumulates_over_blocks(library: openblas.OpenBLAS, shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).standard_normal(shape)
    gram = np.zeros((shape[1], shape[1]))
    half = shape[0] // 2
    library.accumulate_gram(np.ascontiguousarray(matrix[:half]), gram)
    library.accumulate_gram(np.ascontiguousarray(matrix[half:]), gram)
    np.testing.assert_allclose(np.triu(gram), np.triu(matrix.T @ matrix), atol=1e-12)
    assert not np.tril(gram, -1).any()


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (3, 7), (40, 300)])
def test_gram_of_the_rows(library: openblas.OpenBLAS, shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).standard_normal(shape)
    gram = np.zeros((shape[0], shape[0]))
    library.accumulate_gram(matrix, gram, of_rows=True)
    np.testing.assert_allclose(np.triu(gram), np.triu(matrix @ matrix.T), atol=1e-12)


def test_empty_matrices_are_fine(library: openblas.OpenBLAS) -> None:
    assert library.symmetric_eigenvalues(np.zeros((0, 0))).size == 0
    library.accumulate_gram(np.zeros((0, 4)), gram := np.zeros((4, 4)))
    assert not gram.any()


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (np.zeros((3, 3), dtype=np.float32), TypeError),
        (np.zeros((3, 3), dtype=">f8"), TypeError),
        (np.zeros((3, 4)), ValueError),
        (np.zeros(9), ValueError),
        (np.zeros((6, 6))[::2, ::2], ValueError),
        (np.asfortranarray(np.arange(9.0).reshape(3, 3)), ValueError),
    ],
)
def test_what_fortran_would_misread_is_refused(
    library: openblas.OpenBLAS, array: np.ndarray, error: type[Exception]
) -> None:
    with pytest.raises(error):
        library.symmetric_eigenvalues(array)


def test_read_only_memory_is_refused(library: openblas.OpenBLAS) -> None:
    matrix = np.eye(3)
    matrix.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        library.symmetric_eigenvalues(matrix)


def test_a_gram_of_another_size_is_refused(library: openblas.OpenBLAS) -> None:
    with pytest.raises(ValueError, match="shape"):
        library.accumulate_gram(np.zeros((5, 4)), np.zeros((5, 5)))


def test_what_does_not_fit_the_integers_is_refused(library: openblas.OpenBLAS) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        library._integer(int(np.iinfo(library.integer).max) + 1)
