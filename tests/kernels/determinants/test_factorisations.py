"""Determinants by LU and LDLᵀ against exact arithmetic and known spectra."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.determinants.factorisations import Determinant, ldl_determinant, lu_determinant


def _exact(matrix: torch.Tensor) -> tuple[float, int]:
    """``log |det|`` and sign by fractions: every float64 is one."""
    rows = [[Fraction(value) for value in row] for row in matrix.tolist()]
    result = Fraction(1)
    for k in range(len(rows)):
        pivot = next((i for i in range(k, len(rows)) if rows[i][k]), None)
        if pivot is None:
            return -math.inf, 0
        if pivot != k:
            rows[k], rows[pivot] = rows[pivot], rows[k]
            result = -result
        result *= rows[k][k]
        for i in range(k + 1, len(rows)):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    size = abs(result)
    logarithm = Decimal(size.numerator).ln() - Decimal(size.denominator).ln()  # of 28 digits
    return float(logarithm), 1 if result > 0 else -1


def _slack(found: Determinant, n: int) -> float:
    bound = -n * math.log1p(-found.distance) if found.distance < 1 else math.inf
    logarithms = max(abs(math.log(found.smallest)), abs(math.log(found.largest)), 1.0)
    return bound + 2.0**-52 * n * logarithms  # what the logarithms themselves are rounded to


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 14), st.integers(0, 10**6), st.floats(0, 9))
def test_sign_and_logarithm_are_those_of_exact_arithmetic(n: int, seed: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    scale = 10 ** (-spread * torch.rand(n, generator=generator, dtype=torch.float64))
    A = torch.randn(n, n, generator=generator, dtype=torch.float64) * scale
    S = A + A.T
    for found, matrix in ((lu_determinant(A.clone()), A), (ldl_determinant(S.clone()), S)):
        value, sign = _exact(matrix)
        assert found.sign == sign
        assert abs(found.logabs - value) <= _slack(found, n)


@pytest.mark.parametrize("n", [2, 40, 300])
def test_the_spectrum_that_was_built_in_is_found(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    Q = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    values = torch.linspace(-1, 2, n, dtype=torch.float64) + 0.001
    S = (Q * values) @ Q.T
    S = (S + S.T) / 2
    found = ldl_determinant(S.clone())
    assert found.negative == int((values < 0).sum())
    assert found.sign == (-1) ** found.negative
    assert found.logabs == pytest.approx(float(values.abs().log().sum()), abs=1e-9)
    sign, logabs = np.linalg.slogdet(S.numpy())
    other = lu_determinant(S.clone())
    assert other.sign == found.sign == int(sign)
    assert other.logabs == pytest.approx(float(logabs), rel=1e-13)
    exact = float(torch.linalg.cond(S, 1))
    assert exact / 3 <= found.condition <= exact * (1 + 1e-6)
    assert found.distance < 1e-6


def test_blocks_of_two_that_neither_cancel_nor_overflow() -> None:
    found = ldl_determinant(torch.tensor([[0.0, 1e200], [1e200, 1e-200]], dtype=torch.float64))
    assert (found.sign, found.negative) == (-1, 1)
    assert found.logabs == pytest.approx(400 * math.log(10))


@pytest.mark.parametrize("matrix", [[[0.0]], [[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 1.0]]])
def test_an_exactly_singular_matrix_has_no_sign(matrix: list[list[float]]) -> None:
    for function in (lu_determinant, ldl_determinant):
        found = function(torch.tensor(matrix, dtype=torch.float64))
        assert (found.sign, found.logabs) == (0, -math.inf)


def test_the_bound_knows_the_growth_of_the_factors() -> None:
    n = 40  # Wilkinson's matrix: U grows to 2ⁿ⁻¹
    A = torch.eye(n, dtype=torch.float64) - torch.ones(n, n, dtype=torch.float64).tril(-1)
    A[:, -1] = 1
    grown = lu_determinant(A.T.clone())  # the factor is of the transpose
    calm = lu_determinant(torch.eye(n, dtype=torch.float64))
    assert grown.largest == 2.0 ** (n - 1)
    assert grown.distance > 1e4 * calm.distance
    assert grown.logabs == pytest.approx((n - 1) * math.log(2), rel=1e-14)


def test_the_norm_of_the_symmetric_product_is_that_of_the_explicit_factors() -> None:
    import scipy.linalg
    from scipy.linalg import lapack

    from rmtaudit.kernels.determinants import factorisations

    generator = torch.Generator().manual_seed(5)
    for n in (1, 2, 3, 17, 200):
        A = torch.randn(n, n, generator=generator, dtype=torch.float64)
        S = (A + A.T).numpy()
        S[::3, ::3] *= 0.01
        L, D, _ = scipy.linalg.ldl(S)
        wanted = (abs(L) @ abs(D) @ abs(L).T).sum(0).max()
        factor, pivots, _ = lapack.dsytrf(S, lower=1, lwork=64 * n)
        blocks = factorisations._Blocks.of(factor, pivots)
        assert factorisations._symmetric_product_norm(factor, pivots, blocks) == pytest.approx(wanted)
