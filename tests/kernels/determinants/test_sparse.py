"""Sparse log-determinants: agreement with dense ones, and indefinite matrices seen as such."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse

from rmtaudit.kernels.determinants.sparse import sparse_log_determinant
from rmtaudit.kernels.determinants.sparse_fill import symmetric_elimination


def positive(n: int, seed: int, sign: float = 0.0) -> scipy.sparse.csr_array:
    """Return a diagonally dominant matrix; with ``sign=-1`` an M-matrix."""
    A = scipy.sparse.random_array((n, n), density=0.02, rng=seed)
    A = A + A.T
    if sign:
        A.data = sign * abs(A.data)
    return scipy.sparse.csr_array(A + scipy.sparse.diags_array(abs(A).sum(axis=1) + 0.01))


@pytest.mark.parametrize("sign", [0.0, -1.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_truth_is_within_the_bound(seed: int, sign: float) -> None:
    A = positive(300, seed, sign)
    found = sparse_log_determinant(A)
    dense = A.toarray().astype(np.longdouble)
    root = np.zeros_like(dense)  # Cholesky in extended precision, column by column
    for j in range(len(dense)):
        root[j:, j] = dense[j:, j] - root[j:, :j] @ root[j, :j]
        root[j:, j] /= np.sqrt(root[j, j])
    truth = float(2 * np.log(root.diagonal()).sum())
    assert found.logdet is not None
    assert abs(found.logdet - truth) <= found.bound < 1e-6
    assert ("M-matrix" in found.basis) == (sign < 0)


@pytest.mark.parametrize("density", [0.004, 0.1])  # short and long columns of the factor
def test_an_order_that_was_analysed_changes_rounding_alone(density: float) -> None:
    half = scipy.sparse.random_array((400, 400), density=density, rng=3)
    whole = scipy.sparse.csr_array(half + half.T)
    A = scipy.sparse.csr_array(whole + scipy.sparse.diags_array(abs(whole).sum(axis=1) + 0.01))
    order = symmetric_elimination(A)
    found, plain = sparse_log_determinant(A, elimination=order), sparse_log_determinant(A)
    assert (order.entries < 64 * 400) == (density < 0.01)
    assert found.logdet is not None
    assert plain.logdet is not None
    assert abs(found.logdet - plain.logdet) <= found.bound + plain.bound
    assert found.stored <= order.entries
    assert sparse_log_determinant(-1.0 * A, elimination=order).logdet is None


def test_scaling_moves_the_value_alone() -> None:
    A = positive(100, 0)
    found, scaled = sparse_log_determinant(A), sparse_log_determinant(1e-200 * A)
    assert found.logdet is not None
    assert scaled.logdet == pytest.approx(found.logdet + 100 * math.log(1e-200))
    assert scaled.bound == pytest.approx(found.bound, rel=0.1, abs=1e-10)


def test_an_indefinite_matrix_has_pivots_that_show_it() -> None:
    A = positive(100, 0) - 3 * scipy.sparse.eye_array(100)
    expected = int((np.linalg.eigvalsh(A.toarray()) < 0).sum())
    assert 0 < expected < 100
    found = sparse_log_determinant(A)
    assert found.logdet is None
    assert found.negative > 0


@pytest.mark.parametrize(
    "dense",
    [
        [[1.0, 1.0], [1.0, 1.0]],
        [[1.0, 2.0], [2.0, 1.0]],
        [[0.0, 1.0], [1.0, 0.0]],
        [[1.0, 0.0], [0.0, -1.0]],
        [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0]],
    ],
)
def test_what_is_singular_or_indefinite_is_refused(dense: list[list[float]]) -> None:
    assert sparse_log_determinant(scipy.sparse.csr_array(np.array(dense))).logdet is None


def exact_log_determinant(matrix: np.ndarray) -> float:
    """Return ``log det A`` of a float64 matrix by Gauss's elimination of fractions."""
    rows = [[Fraction(value) for value in row] for row in matrix.tolist()]
    logs = 0.0
    for place in range(len(rows)):
        pivot = rows[place][place]
        logs += math.log(pivot.numerator) - math.log(pivot.denominator)
        for row in rows[place + 1 :]:
            factor = row[place] / pivot
            row[place:] = [
                left - factor * right for left, right in zip(row[place:], rows[place][place:], strict=True)
            ]
    return logs


@pytest.mark.parametrize("seed", range(12))
def test_the_likely_error_holds_next_to_a_singular_matrix(seed: int) -> None:
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    matrix = basis @ np.diag(10.0 ** np.linspace(0, -13, 8)) @ basis.T
    matrix = np.tril(matrix) + np.tril(matrix, -1).T
    found = sparse_log_determinant(scipy.sparse.csr_array(matrix))
    assert found.logdet is not None
    assert abs(found.logdet - exact_log_determinant(matrix)) <= 10 * found.likely
