"""QB, interpolative, CUR, Nyström, pivoted Cholesky: the stated error is that of the dense difference."""

from __future__ import annotations

import math

import pytest
import torch
from decays import DECAYS, rectangular, semidefinite, singular_values

from rmtaudit.kernels.operators import linear, symmetric
from rmtaudit.kernels.randnla.interpolative import cur, interpolative
from rmtaudit.kernels.randnla.norms import NormBounds
from rmtaudit.kernels.randnla.nystrom import nystrom, pivoted_cholesky
from rmtaudit.kernels.randnla.qb import find_range, qb


def assert_error(stated: NormBounds, difference: torch.Tensor) -> None:
    truth = float(torch.linalg.matrix_norm(difference, 2))
    assert stated.lower <= truth + 1e-12
    assert truth <= stated.upper + 1e-12


@pytest.mark.parametrize("shape", [(120, 80), (80, 120)])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("power", [0, 1])
def test_a_range_and_its_error(shape: tuple[int, int], decay: str, power: int) -> None:
    sigma = singular_values(decay, 80)
    matrix = rectangular(*shape, sigma)
    found = find_range(linear(matrix), 20, 5, power=power)
    difference = matrix - found.basis @ found.factor
    assert torch.allclose(found.basis.T @ found.basis, torch.eye(20, dtype=torch.float64), atol=1e-12)
    assert found.error == pytest.approx(float(torch.linalg.matrix_norm(difference)), abs=found.floor)
    assert_error(found.spectral, difference)
    assert found.error is not None
    assert found.error >= float((sigma[20:] ** 2).sum().sqrt()) - found.floor
    assert not found.reached


@pytest.mark.parametrize("tolerance", [0.5, 0.1, 1e-3])
def test_qb_stops_at_its_tolerance(tolerance: float) -> None:
    sigma = singular_values("power 1", 80)
    matrix = rectangular(120, 80, sigma)
    found = qb(linear(matrix), tolerance, 1, block=4)
    size = float((sigma**2).sum().sqrt())
    assert found.reached
    assert float(torch.linalg.matrix_norm(matrix - found.basis @ found.factor)) <= tolerance * size * (
        1 + 1e-9
    )
    best = next(k for k in range(81) if float((sigma[k:] ** 2).sum().sqrt()) <= tolerance * size)
    assert best <= found.basis.shape[1] <= best + 12


@pytest.mark.parametrize("power", [0, 1])
def test_an_exhausted_range_ends_the_basis(power: int) -> None:
    for matrix in (torch.full((60, 50), 0.3), rectangular(60, 50, torch.tensor([3.0, 2.0, 1.0]).double())):
        found = qb(linear(matrix), 1e-6, 3, block=4, power=power)
        rank = found.basis.shape[1]
        assert rank <= 4
        inner = found.basis.T @ found.basis
        assert torch.allclose(inner, torch.eye(rank, dtype=torch.float64), atol=1e-12)
        assert found.reached
        assert found.error is not None
        assert found.error <= found.floor
        fixed = find_range(linear(matrix), 20, 3, power=power)
        assert fixed.basis.shape[1] <= 20
        assert_error(fixed.spectral, matrix.double() - fixed.basis @ fixed.factor)


def test_a_tolerance_that_is_not_reached_is_said() -> None:
    found = qb(linear(rectangular(50, 40, singular_values("flat", 40))), 0.01, 0, most=8)
    assert not found.reached
    assert found.basis.shape[1] == 8
    with pytest.raises(ValueError, match="energy"):
        qb(symmetric(lambda X: X, 5), 0.1, 0)
    with pytest.raises(ValueError, match="power"):
        find_range(linear(torch.ones(3, 3)), 1, 0, power=-1)


@pytest.mark.parametrize("decay", ["power 1", "power 2", "geometric", "step"])
@pytest.mark.parametrize("shape", [(70, 50), (50, 70)])
def test_columns_and_rows_of_the_matrix(decay: str, shape: tuple[int, int]) -> None:
    sigma = singular_values(decay, 50)
    matrix = rectangular(*shape, sigma)
    found = interpolative(matrix, 12, 2)
    chosen = matrix[:, found.columns]
    assert torch.equal(found.coefficients[:, found.columns], torch.eye(12, dtype=torch.float64))
    difference = matrix - chosen @ found.coefficients
    assert_error(found.error, difference)
    assert found.error.upper <= 20 * float(sigma[12])
    both = cur(matrix, 12, 2)
    difference = matrix - matrix[:, both.columns] @ both.core @ matrix[both.rows]
    assert_error(both.error, difference)
    assert both.error.upper <= 20 * float(sigma[12])


def test_dependent_columns_are_said() -> None:
    matrix = rectangular(30, 20, torch.ones(4, dtype=torch.float64))
    assert interpolative(matrix, 4, 0).error.upper < 1e-10
    with pytest.raises(ArithmeticError, match="independent"):
        interpolative(matrix, 9, 0)
    with pytest.raises(ValueError, match="rank"):
        interpolative(matrix, 21, 0)


@pytest.mark.parametrize("decay", DECAYS)
def test_nystrom(decay: str) -> None:
    eigenvalues = singular_values(decay, 80)
    matrix = semidefinite(eigenvalues)
    found = nystrom(lambda X: matrix @ X, 80, 25, 4)
    difference = matrix - (found.vectors * found.eigenvalues) @ found.vectors.T
    assert float(torch.linalg.matrix_norm(difference, 2)) <= found.residual.spectral_bound
    assert float(torch.linalg.matrix_norm(difference)) <= found.residual.frobenius_bound
    # never above the matrix, and no better than the best
    assert float(torch.linalg.eigvalsh(difference)[0]) >= -1e-12
    assert float(torch.linalg.matrix_norm(difference, 2)) >= float(eigenvalues[25]) - 1e-12
    assert bool((found.eigenvalues <= eigenvalues[:25] + 1e-12).all())


@pytest.mark.parametrize("decay", DECAYS)
def test_pivoted_cholesky(decay: str) -> None:
    eigenvalues = singular_values(decay, 80)
    matrix = semidefinite(eigenvalues)
    generator = torch.Generator().manual_seed(0)
    found = pivoted_cholesky(lambda i: matrix[:, i], matrix.diagonal(), 25, generator, block=8)
    difference = matrix - found.factor @ found.factor.T
    assert found.residual_trace == pytest.approx(float(difference.trace()), abs=1e-10)
    assert found.trace == pytest.approx(float(eigenvalues.sum()))
    assert float(torch.linalg.eigvalsh(difference)[0]) >= -1e-12
    assert float(difference[found.pivots].abs().max()) < 1e-10
    assert len(found.pivots.unique()) == found.factor.shape[1] == 25
    # Chen, Epperly, Tropp, Webber 2025, theorem 5.1, with room for one draw
    assert found.residual_trace <= 3 * float(eigenvalues[12:].sum()) + 1e-10


def test_what_is_not_semidefinite_is_refused() -> None:
    indefinite = torch.diag(torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64))
    with pytest.raises(ArithmeticError, match="semidefinite"):
        nystrom(lambda X: indefinite @ X, 3, 3, 0)
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ArithmeticError, match="semidefinite"):
        pivoted_cholesky(lambda i: indefinite[:, i], indefinite.diagonal(), 2, generator)
    hidden = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    with pytest.raises(ArithmeticError, match="residual"):
        pivoted_cholesky(lambda i: hidden[:, i], hidden.diagonal(), 2, generator, block=1)
    with pytest.raises(ValueError, match="rank"):
        nystrom(lambda X: X, 3, 4, 0)


def test_pivoted_cholesky_stops_when_nothing_is_left() -> None:
    matrix = semidefinite(torch.cat([torch.ones(5), torch.zeros(35)]).double())
    found = pivoted_cholesky(
        lambda i: matrix[:, i], matrix.diagonal(), 30, torch.Generator().manual_seed(1), tolerance=1e-10
    )
    assert found.factor.shape[1] <= 8
    assert found.residual_trace <= 1e-10 * found.trace
    assert math.isfinite(float(found.factor.sum()))
