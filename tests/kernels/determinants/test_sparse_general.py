"""Sparse determinants of any square matrix, and the fill that is predicted for them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.determinants.sparse_fill import (
    counted,
    general_fill,
    narrow_band,
    symmetric_elimination,
)
from rmtaudit.kernels.determinants.sparse_general import general_sparse_determinant, parity, structure_of

seeds = st.integers(0, 2**32 - 1)


def exact(dense: np.ndarray) -> Fraction:
    rows = [[Fraction(float(value)) for value in line] for line in dense]
    found = Fraction(1)
    for k in range(len(rows)):
        pivot = next((i for i in range(k, len(rows)) if rows[i][k]), None)
        if pivot is None:
            return Fraction(0)
        if pivot != k:
            rows[k], rows[pivot], found = rows[pivot], rows[k], -found
        found *= rows[k][k]
        for i in range(k + 1, len(rows)):
            ratio = rows[i][k] / rows[k][k]
            rows[i] = [a - ratio * b for a, b in zip(rows[i], rows[k], strict=True)]
    return found


def drawn(n: int, seed: int, density: float) -> scipy.sparse.csr_array:
    rng = np.random.default_rng(seed)
    A = scipy.sparse.random_array((n, n), density=density, rng=rng, data_sampler=rng.standard_normal)
    return scipy.sparse.csr_array(A + scipy.sparse.eye_array(n) * rng.integers(0, 2))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 14), seeds, st.floats(0.05, 0.5))
def test_sign_and_value_are_those_of_exact_arithmetic(n: int, seed: int, density: float) -> None:
    A = drawn(n, seed, density)
    truth = exact(A.toarray())
    found = general_sparse_determinant(A)
    if truth == 0:
        assert found.sign in (0, None) or not math.isfinite(found.bound)
        return
    assert found.sign != 0
    if found.sign is not None and found.logdet is not None and math.isfinite(found.bound):
        assert found.sign == (1 if truth > 0 else -1)
        logabs = math.log(abs(truth.numerator)) - math.log(truth.denominator)
        assert abs(found.logdet - logabs) <= found.bound + 1e-14 * math.log(truth.denominator)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), seeds)
def test_a_triangle_is_found_in_any_order(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    A = np.tril(rng.standard_normal((n, n)) * (rng.random((n, n)) < 0.3), -1)
    diagonal = rng.standard_normal(n) * 10.0 ** rng.uniform(-200, 200, n)
    rows, cols = rng.permutation(n), rng.permutation(n)
    shuffled = scipy.sparse.csr_array((A + np.diag(diagonal))[rows][:, cols])
    found = general_sparse_determinant(shuffled)
    assert found.structure == "triangular"
    assert found.logdet == pytest.approx(np.log(np.abs(diagonal)).sum(), rel=1e-12, abs=1e-10)
    assert found.sign == parity(rows) * parity(cols) * int(np.sign(diagonal).prod())
    assert found.bound < 1e-9


@given(st.permutations(range(9)))
def test_the_parity_is_that_of_the_matrix(order: list[int]) -> None:
    assert parity(np.array(order)) == round(np.linalg.det(np.eye(9)[order]))


def test_structure_alone_makes_singular() -> None:
    assert structure_of(scipy.sparse.csr_array((5, 5))).empty == 5
    two = scipy.sparse.csr_array(np.array([[1.0, 1, 1], [0, 0, 1], [0, 0, 1]]))
    assert structure_of(two).empty == 1
    assert general_sparse_determinant(two).sign == 0
    zeros = scipy.sparse.csr_array((np.zeros(3), (np.arange(3), np.arange(3))), shape=(3, 3))
    assert structure_of(zeros).empty == 3  # stored zeros are zeros


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 120), seeds, st.floats(0.0, 0.08))
def test_the_predicted_fill_is_that_of_the_factors(n: int, seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    A = scipy.sparse.random_array((n, n), density=density, rng=rng)
    S = scipy.sparse.csc_array(A + A.T + 10 * scipy.sparse.eye_array(n))
    factors = scipy.sparse.linalg.splu(
        S, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    assert symmetric_elimination(S).entries == factors.L.nnz
    q = rng.permutation(n)
    own = scipy.sparse.csc_array(S[q][:, q])  # an order that is no postorder
    natural = scipy.sparse.linalg.splu(
        own, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    assert counted(own) == natural.L.nnz
    G = scipy.sparse.csc_array(A + scipy.sparse.csr_array(scipy.sparse.eye_array(n))[q])
    try:
        general = scipy.sparse.linalg.splu(G)
    except RuntimeError:
        return
    most = general_fill(G)
    assert most is not None
    assert general.L.nnz + general.U.nnz <= most


def test_a_narrow_band_bounds_its_own_fill() -> None:
    rng = np.random.default_rng(0)
    bands: Any = [rng.standard_normal(499), rng.standard_normal(500), rng.standard_normal(498)]
    A = scipy.sparse.csr_array(scipy.sparse.diags_array(bands, offsets=[-1, 0, 2]))
    most = narrow_band(A)
    assert most == 500 * 5
    factors = scipy.sparse.linalg.splu(scipy.sparse.csc_array(A), permc_spec="NATURAL")
    assert factors.L.nnz + factors.U.nnz <= most + 500
    found = general_sparse_determinant(A)
    truth = np.linalg.slogdet(A.toarray())
    assert found.sign == truth.sign
    assert found.logdet == pytest.approx(truth.logabsdet)
    corner = scipy.sparse.coo_array(([1.0], ([499], [0])), shape=(500, 500))
    assert narrow_band(scipy.sparse.csr_array(A + corner)) is None


def test_scaling_does_not_matter() -> None:
    A = drawn(40, 3, 0.2) + 2 * scipy.sparse.eye_array(40)
    powers = 2.0 ** np.random.default_rng(0).integers(-400, 400, 40)
    scaled = scipy.sparse.csr_array(scipy.sparse.diags_array(powers) @ A)
    plain, moved = general_sparse_determinant(scipy.sparse.csr_array(A)), general_sparse_determinant(scaled)
    assert moved.sign == plain.sign
    assert moved.logdet == pytest.approx(plain.logdet + np.log(powers).sum(), rel=1e-12)
    assert moved.bound < 1e-6
