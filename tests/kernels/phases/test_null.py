"""Noise of uneven scale is told from structure, whatever the unit and the orientation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.noise.null_tests import NullTests
from rmtaudit.kernels.phases.null import Null, NullTest, null_test


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def outcome(matrix: torch.Tensor, seed: int = 0) -> NullTest:
    return null_test(matrix, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["plain", "rows", "rows and columns", "sparse", "heavy entries"])
def test_noise_of_any_scale_is_noise(kind: str) -> None:
    noise = 0
    for seed in range(5):
        matrix = gaussian(96, 64, seed=seed)
        if kind.startswith("rows"):
            matrix *= torch.linspace(1, 4, 96, dtype=torch.float64)[:, None]
        if kind == "rows and columns":
            matrix *= torch.exp(gaussian(1, 64, seed=seed + 50))
        if kind == "sparse":
            matrix *= gaussian(96, 64, seed=seed + 90) > 1.28
        if kind == "heavy entries":
            matrix = matrix / gaussian(96, 64, seed=seed + 70).abs().clamp(min=1e-3)
        found = outcome(matrix)
        noise += found.null is Null.NOISE
        assert found.eigenvalues is not None
        assert len(found.eigenvalues) == min(found.rows, found.cols)
        # evened out, the mean eigenvalue is the longer side
        assert float(found.eigenvalues.mean()) == pytest.approx(max(found.rows, found.cols), rel=0.02)
    assert noise >= 4


def test_structure_and_orthogonality_are_told_apart() -> None:
    spike = gaussian(80, 60) + 3 * gaussian(80, 1, seed=1) @ gaussian(1, 60, seed=2) / 8
    assert outcome(spike).null is Null.STRUCTURE
    rotated = torch.linalg.qr(gaussian(60, 60, seed=3)).Q @ (gaussian(60, 80, seed=4))
    scaled = torch.linalg.qr(gaussian(60, 60, seed=5)).Q @ (
        torch.linspace(1, 3, 60, dtype=torch.float64)[:, None] * rotated
    )
    assert outcome(scaled).null is Null.STRUCTURE
    orthogonal = torch.linalg.qr(gaussian(80, 60)).Q
    assert outcome(orthogonal).null is Null.ORTHOGONAL
    assert (
        outcome(orthogonal * torch.linspace(1, 2, 80, dtype=torch.float64)[:, None]).null is Null.ORTHOGONAL
    )


def test_where_signs_mean_nothing_there_is_no_test() -> None:
    for matrix in (torch.eye(40, dtype=torch.float64), torch.zeros(40, 40), gaussian(80, 12)):
        found = outcome(matrix)
        assert found.null is Null.UNTESTABLE
        assert found.p_value is None
        assert found.eigenvalues is None


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), power=st.integers(-300, 300))
def test_the_unit_and_the_orientation_play_no_part(seed: int, power: int) -> None:
    matrix = gaussian(40, 24, seed=seed % 1000)
    first = outcome(matrix)
    for other in (matrix.T, matrix * 2.0**power):
        again = outcome(other)
        assert again.null is first.null
        assert again.eigenvalues is not None
        assert first.eigenvalues is not None
        assert torch.allclose(again.eigenvalues, first.eigenvalues, rtol=1e-3, atol=1e-2)


def test_a_test_without_draws_is_not_made_again() -> None:
    for matrix in (
        gaussian(240, 220),
        gaussian(240, 220) + 2 * gaussian(240, 8, seed=1).repeat(1, 28)[:, :220],
    ):
        tests = NullTests(matrix, torch.empty(0), torch.Generator().manual_seed(1), 4, by_block=True)
        known = tests.signs()
        assert known.edge is None or not known.edge.draws
        alone = outcome(matrix)
        again = null_test(matrix, generator=torch.Generator(), known=known)
        assert again.null is alone.null
        assert again.p_value == known.p_value


def test_a_test_with_draws_has_those_of_its_own_generator() -> None:
    matrix = gaussian(60, 40)
    drawn = [
        NullTests(matrix, torch.empty(0), torch.Generator().manual_seed(seed), 4, by_block=False).signs()
        for seed in (0, 1)
    ]
    assert drawn[1].edge is not None
    assert drawn[1].edge.draws
    assert null_test(matrix, generator=torch.Generator().manual_seed(0), known=drawn[1]).p_value in (
        drawn[0].p_value,
        outcome(matrix).p_value,
    )
