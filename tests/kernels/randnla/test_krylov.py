"""Singular values by block Krylov: every interval holds the i-th value of the dense answer."""

from __future__ import annotations

import pytest
import torch
from decays import DECAYS, rectangular, semidefinite, singular_values
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.operators import linear, symmetric
from rmtaudit.kernels.randnla.krylov import Partial, top_eigenpairs, top_singular
from rmtaudit.kernels.randnla.rank import rank_bounds


def assert_holds(found: Partial, exact: torch.Tensor) -> None:
    """Check the intervals against all the exact values, descending."""
    rank = len(found.values)
    assert bool((found.lower <= exact[:rank]).all())
    assert bool((exact[:rank] <= found.upper).all())
    if rank < len(exact):
        assert float(exact[rank]) <= found.following


@pytest.mark.parametrize("shape", [(120, 80), (80, 120)])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_intervals_hold_the_ith_value(shape: tuple[int, int], decay: str, steps: int) -> None:
    sigma = singular_values(decay, 80)
    matrix = rectangular(*shape, sigma)
    found = top_singular(linear(matrix), 8, 3, steps=steps)
    assert_holds(found, sigma)
    distance = (found.values[:, None] - sigma).abs().amin(dim=1)
    assert bool((distance <= found.residuals + 1e-13).all())
    tail = float((sigma[8:] ** 2).sum())
    assert found.tail is not None
    assert found.tail >= tail - 1e-12
    if steps == 6 and decay != "flat":
        assert found.tail == pytest.approx(tail, abs=1e-6)
        assert bool((found.upper - found.lower <= 0.1 * sigma[:8]).all())


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=12),
    st.integers(0, 6),
    st.integers(1, 4),
    st.integers(0, 2**62),
    st.booleans(),
)
def test_any_small_spectrum(values: list[int], extra: int, rank: int, seed: int, wide: bool) -> None:
    sigma = torch.tensor(sorted(values, reverse=True), dtype=torch.float64)
    matrix = rectangular(len(values) + extra, len(values), sigma)
    found = top_singular(linear(matrix.T if wide else matrix), min(rank, len(values)), seed, block=2)
    assert_holds(found, torch.linalg.svdvals(matrix))


def test_float32_is_widened_and_the_triples_are_those_of_the_dense_answer() -> None:
    matrix = rectangular(300, 90, singular_values("power 1", 90)).float()
    left, sigma, _ = torch.linalg.svd(matrix.double(), full_matrices=False)
    found = top_singular(linear(matrix), 4, 0)
    assert torch.allclose(found.values, sigma[:4], rtol=1e-10)
    assert torch.allclose((found.left * left[:, :4]).sum(dim=0).abs(), torch.ones(4).double(), atol=1e-9)
    assert found.energy == pytest.approx(float((matrix.double() ** 2).sum()), rel=1e-14)


def test_an_unknown_energy_stays_unknown() -> None:
    matrix = semidefinite(singular_values("power 1", 40))
    found = top_singular(symmetric(lambda X: matrix @ X, 40), 3, 0)
    assert found.energy is None
    assert found.tail is None
    assert_holds(found, singular_values("power 1", 40))


@pytest.mark.parametrize("true", [1, 3, 7])
@pytest.mark.parametrize("block", [2, 13])
def test_low_rank_is_no_new_direction(true: int, block: int) -> None:
    """Rounding, normalised, is not orthogonal to the basis: values would be counted twice."""
    for dtype in (torch.float32, torch.float64):
        generator = torch.Generator().manual_seed(true)
        matrix = torch.randn(128, true, generator=generator) @ torch.randn(true, 96, generator=generator)
        for W in (matrix.to(dtype), torch.full((128, 96), 0.35, dtype=dtype)):
            exact = torch.linalg.svdvals(W.double())
            found = top_singular(linear(W), 5, 0, block=block)
            slack = 1e-13 * float(exact[0])
            assert bool((found.lower <= exact[:5] + slack).all())
            assert bool((exact[:5] <= found.upper + slack).all())
            inner = found.left.T @ found.left
            assert torch.allclose(inner, torch.eye(5, dtype=torch.float64), atol=1e-10)
    values = torch.cat([torch.arange(1, true + 1), torch.zeros(40)]).double()
    low = semidefinite(values)
    assert_holds(
        top_eigenpairs(symmetric(lambda X: low @ X, len(values)), 5, 1, block=block),
        values.sort(descending=True).values,
    )


def test_a_zero_matrix() -> None:
    found = top_singular(linear(torch.zeros(9, 5)), 2, 0)
    assert found.values.tolist() == found.upper.tolist() == [0.0, 0.0]


def test_what_is_refused() -> None:
    operator = linear(torch.ones(4, 3))
    for rank in (0, 4):
        with pytest.raises(ValueError, match="rank"):
            top_singular(operator, rank, 0)
    with pytest.raises(ValueError, match="hold no 3"):
        top_singular(operator, 3, 0, block=1, steps=2)
    with pytest.raises(ValueError, match="square"):
        top_eigenpairs(operator, 1, 0)
    with pytest.raises(ValueError, match="at least one entry"):
        linear(torch.empty(0, 3))


@pytest.mark.parametrize("shift", [0.0, -0.4, -2.0])
@pytest.mark.parametrize("decay", DECAYS)
def test_eigenpairs_of_any_sign(decay: str, shift: float) -> None:
    values = singular_values(decay, 60) + shift
    matrix = semidefinite(values)
    found = top_eigenpairs(symmetric(lambda X: matrix @ X, 60), 5, 1, steps=3)
    assert_holds(found, values)
    rest = matrix @ found.left - found.left * found.values
    assert torch.allclose(torch.linalg.vector_norm(rest, dim=0), found.residuals, atol=1e-12)


@pytest.mark.parametrize("threshold", [0.9, 0.15, 0.02, 1e-4])
@pytest.mark.parametrize("decay", ["power 1", "geometric", "step"])
def test_ranks_are_bracketed(decay: str, threshold: float) -> None:
    sigma = singular_values(decay, 80)
    truth = int((sigma > threshold).sum())
    found = rank_bounds(linear(rectangular(100, 80, sigma)), threshold, 2, most=32)
    assert found.lower <= truth <= found.upper
    if truth < 30:
        assert found.lower == found.upper == truth


def test_ranks_without_a_threshold() -> None:
    with pytest.raises(ValueError, match="positive"):
        rank_bounds(linear(torch.ones(3, 3)), 0.0, 0)
