"""Random signs: exact moments by enumeration, calibrated p-values, and the largest eigenvalue."""

from __future__ import annotations

import itertools

import pytest
import torch

from rmtaudit.kernels.noise import sign_flip
from rmtaudit.kernels.noise.sign_flip import (
    edge_test,
    flipped_gram,
    largest_eigenvalue,
    random_signs,
    rectangle_test,
)
from rmtaudit.kernels.noise.tracy_widom import soft_edge
from rmtaudit.kernels.noise.variance_profile import Profile, equalised_gram, sinkhorn
from rmtaudit.kernels.spectra.gram import eigenvalues, gram


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flat(rows: int, cols: int) -> Profile:
    return Profile(torch.ones(rows, dtype=torch.float64), torch.ones(cols, dtype=torch.float64))


def test_mean_and_variance_over_all_signs_are_exact() -> None:
    """Over all signs of a 4 x 3 matrix the standardised statistic has mean 0 and variance 1.

    Flipping a whole row or column changes nothing, so the first ones may stay positive: 2⁶ cases are left.
    """
    sizes = gaussian(4, 3).abs() + 0.1
    profile = flat(4, 3)
    scores = []
    for signs in itertools.product((-1.0, 1.0), repeat=6):
        matrix = sizes.clone()
        matrix[1:, 1:] *= torch.tensor(signs, dtype=torch.float64).view(3, 2)
        scores.append(rectangle_test(matrix, profile, gram(matrix)).z)
    z = torch.tensor(scores, dtype=torch.float64)
    assert float(z.mean()) == pytest.approx(0, abs=1e-12)
    assert float(z.square().mean()) == pytest.approx(1, abs=1e-12)


def test_the_statistic_ignores_flips_of_whole_rows_and_columns() -> None:
    matrix = gaussian(30, 20)
    turned = matrix * torch.sign(gaussian(30, 1, seed=1)) * torch.sign(gaussian(1, 20, seed=2))
    first, second = (rectangle_test(one, flat(30, 20), gram(one)).z for one in (matrix, turned))
    assert first == pytest.approx(second, abs=1e-9)


def test_structure_and_its_opposite_are_both_found() -> None:
    low_rank = gaussian(200, 100) + 0.5 * gaussian(200, 5, seed=1) @ gaussian(5, 100, seed=2)
    orthogonal = torch.linalg.qr(gaussian(200, 100)).Q
    for matrix, sign in ((low_rank, 1), (orthogonal, -1)):
        profile = sinkhorn(matrix)
        test = rectangle_test(matrix, profile, equalised_gram(matrix, profile))
        assert sign * test.z > 10
        assert test.p_value < 1e-6


def entries(kind: str, shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    if kind == "rademacher":
        return random_signs(shape[0] * shape[1], generator).double().view(shape)
    matrix = torch.randn(shape, generator=generator, dtype=torch.float64)
    if kind == "student":
        below = torch.randn(5, *shape, generator=generator, dtype=torch.float64).square().mean(0)
        matrix = matrix / below.sqrt()
    sides = (torch.randn(size, generator=generator, dtype=torch.float64) for size in shape)
    rows, cols = (torch.exp(side) for side in sides)
    return matrix * rows[:, None] * cols


@pytest.mark.parametrize("kind", ["rademacher", "uneven", "student"])
def test_noise_gets_uniform_p_values(kind: str) -> None:
    """200 layers a kind, fixed seeds: each share within four binomial standard errors of its level."""
    generator = torch.Generator().manual_seed(7)
    p_values = []
    for _ in range(200):
        matrix = entries(kind, (64, 32), generator)
        profile = sinkhorn(matrix)
        p_values.append(rectangle_test(matrix, profile, equalised_gram(matrix, profile)).p_value)
    for level in (0.05, 0.2, 0.5):
        share = sum(p <= level for p in p_values) / 200
        assert share == pytest.approx(level, abs=4 * (level * (1 - level) / 200) ** 0.5)


def test_the_edge_is_compared_with_its_draws() -> None:
    matrix = gaussian(120, 60)
    profile = sinkhorn(matrix)
    width = soft_edge(120, 60)[1]
    top = float(eigenvalues(equalised_gram(matrix, profile))[-1])

    def test_of(largest: float, draws: int = 9) -> tuple[float, float]:
        found = edge_test(
            matrix, profile, largest, draws=draws, width=width, generator=torch.Generator().manual_seed(1)
        )
        assert len(found.draws) == draws
        return found.p_exact, found.p_value

    exact, smooth = test_of(top)
    assert exact > 0.1
    assert smooth > 0.01
    exact, smooth = test_of(2 * top)
    assert exact == pytest.approx(0.1)
    assert smooth < 1e-20
    assert test_of(0.0)[0] == 1
    with pytest.raises(ValueError, match="at least one draw"):
        test_of(top, draws=0)


def test_signs_are_even_and_repeat_with_their_seed() -> None:
    one, other = (random_signs(100_003, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)
    assert set(one.tolist()) == {-1, 1}
    assert abs(int(one.sum())) < 4 * 100_003**0.5


def test_flipping_keeps_the_magnitudes() -> None:
    matrix = gaussian(50, 20)
    product = flipped_gram(matrix, flat(50, 20), torch.Generator().manual_seed(0))
    assert product.diagonal() == pytest.approx(gram(matrix).diagonal())
    assert not torch.allclose(product, gram(matrix))


@pytest.mark.parametrize("rows", [900, 2000])
def test_the_largest_eigenvalue_without_the_others(rows: int) -> None:
    """At the crowded edge of a bulk, to a hundredth of the Tracy-Widom width."""
    product = gram(gaussian(rows, 700))
    exact = float(eigenvalues(product)[-1])
    assert largest_eigenvalue(product) == pytest.approx(exact, abs=0.01 * soft_edge(rows, 700)[1])


def test_gram_sums_blocks_of_any_shape() -> None:
    matrix = gaussian(5000, 70).float()
    assert gram(matrix) == pytest.approx(matrix.double().T @ matrix.double(), rel=1e-12)
    assert gram(matrix.T[:60, :9].T) == pytest.approx(matrix[:9, :60].double().T @ matrix[:9, :60].double())
    assert gram(matrix, lambda block, _: block.mul_(2)) == pytest.approx(4 * gram(matrix))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1000, 700])
def test_the_variance_of_a_large_matrix_is_estimated(
    rows: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    scales = torch.exp(0.5 * gaussian(700, seed=3))
    matrix = (gaussian(rows, 700, seed=4) * scales).to(dtype)
    matrix[:, 5] = 0.0
    profile = sinkhorn(matrix)
    product = equalised_gram(matrix, profile)
    exact = rectangle_test(matrix, profile, product)
    monkeypatch.setattr(sign_flip, "_SKETCH_FROM", 100)
    monkeypatch.setattr(sign_flip, "_SKETCH_ERROR", 1e-2)
    sums = []
    monkeypatch.setattr(sign_flip, "gram", lambda *_, **__: sums.append(1))
    estimate = rectangle_test(matrix, profile, product)
    assert not sums
    assert estimate.z != exact.z
    assert estimate.z == pytest.approx(exact.z, rel=1e-3)


def test_the_variance_is_exact_where_its_estimate_is_not_good_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = gaussian(400, 300)
    matrix[:6, :6] *= 40  # a few entries hold most of the fourth powers
    profile = flat(400, 300)
    exact = rectangle_test(matrix, profile, gram(matrix))
    monkeypatch.setattr(sign_flip, "_SKETCH_FROM", 100)
    assert rectangle_test(matrix, profile, gram(matrix)) == exact


def test_a_permutation_has_no_signs_to_test_at_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_flip, "_SKETCH_FROM", 10)
    matrix = torch.eye(120, dtype=torch.float64)[
        torch.randperm(120, generator=torch.Generator().manual_seed(0))
    ]
    with pytest.raises(ArithmeticError, match="no two columns"):
        rectangle_test(matrix, flat(120, 120), gram(matrix))
