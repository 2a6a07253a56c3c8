"""A block of columns rejects what the whole matrix rejects, and never accepts on its own."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from rmtaudit.kernels.noise import equalised, null_tests
from rmtaudit.kernels.noise.equalised import EqualisedMatrix
from rmtaudit.kernels.noise.floor import NoiseFloor, Sharp, noise_floor
from rmtaudit.kernels.spectra.gram import eigenvalues, gram

ROWS, COLS = 448, 256


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def trained_like(rows: int = ROWS, cols: int = COLS) -> torch.Tensor:
    """Noise and a product of factors of many strengths: no bulk of noise."""
    rank = cols // 2
    strengths = torch.logspace(0.5, -1, rank)
    return gaussian(rows, cols, seed=1) + 2 * (gaussian(rows, rank, seed=2) * strengths) @ gaussian(
        rank, cols, seed=3
    )


def floor(matrix: torch.Tensor, sharp: Sharp = "auto") -> NoiseFloor:
    generator = torch.Generator().manual_seed(0)
    return noise_floor(matrix, eigenvalues(gram(matrix)), generator=generator, sharp=sharp)


def test_the_block_is_half_of_the_columns_and_always_the_same() -> None:
    matrix = gaussian(ROWS, COLS)
    matrix[:, 7] = 0
    block, again = (EqualisedMatrix(matrix).block for _ in range(2))
    assert block is not None
    assert again is not None
    assert block.support == (ROWS, (COLS - 1) // 2)
    assert torch.equal(block.matrix, again.matrix)
    assert float(block.matrix.square().sum(0).min()) > 0
    whole = EqualisedMatrix(matrix)
    columns = [int((matrix == column[:, None]).all(0).nonzero()) for column in block.matrix.T]
    assert columns == sorted(set(columns))
    torch.testing.assert_close(block.product, whole.product[columns][:, columns])


def test_no_block_of_a_matrix_that_is_quick_to_test() -> None:
    assert EqualisedMatrix(gaussian(300, 190)).block is None


def test_a_block_rejects_without_any_spectrum_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = trained_like()
    whole = floor(matrix, "sinkhorn")
    spectrum = eigenvalues(gram(matrix))
    sizes: list[int] = []

    def counted(symmetric: torch.Tensor) -> torch.Tensor:
        sizes.append(len(symmetric))
        return eigenvalues(symmetric)

    monkeypatch.setattr("rmtaudit.kernels.noise.equalised.eigenvalues", counted)
    result = noise_floor(matrix, spectrum, generator=torch.Generator().manual_seed(0))
    assert max(sizes) == COLS // 2
    assert result.accepted is None
    assert whole.accepted is None
    assert (result.test.columns, whole.test.columns) == (COLS // 2, COLS)
    assert [null.columns for null in result.nulls][:2] == [COLS, COLS // 2]
    assert result.test.p_value < 1e-9
    assert whole.test.p_value < 1e-9
    assert whole.least_spikes
    assert result.least_spikes == whole.least_spikes


def test_a_block_that_leaves_a_doubt_is_followed_by_larger_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equalised, "_LARGEST_BLOCK", 96)
    monkeypatch.setattr(null_tests, "DYSON_UP_TO", 512)
    size, rank = 800, 60
    matrix = (
        gaussian(size, size) + 2 * gaussian(size, rank, seed=1) @ gaussian(rank, size, seed=2) / size**0.5
    )
    whole = floor(matrix, "sinkhorn")
    monkeypatch.setattr(null_tests, "_DOUBTFUL", 0.0)
    first_only = floor(matrix)
    monkeypatch.setattr(null_tests, "_DOUBTFUL", 0.2)
    larger = floor(matrix)
    assert [null.columns for null in first_only.nulls][:2] == [size, size]
    assert larger.nulls[1].columns == 192
    assert larger.nulls[1].p_value < 1e-4
    assert whole.nulls[1].p_value < larger.nulls[1].p_value
    assert larger.accepted is None
    assert whole.accepted is None
    assert larger.least_spikes == first_only.least_spikes == whole.least_spikes


def test_larger_blocks_hold_the_columns_of_the_block_and_stop_at_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(equalised, "_LARGEST_BLOCK", 96)
    matrix = gaussian(500, 400)
    even = EqualisedMatrix(matrix)
    assert even.block is not None
    spectra = list(even.larger_blocks())
    assert [len(values) for values in spectra] == [192]
    assert float(even.block.eigenvalues[-1]) <= float(spectra[0][-1]) <= float(even.eigenvalues[-1])
    monkeypatch.setattr(equalised, "_KRYLOV_FROM", 300)
    large = EqualisedMatrix(matrix)
    torch.testing.assert_close(next(large.larger_blocks()), spectra[0], rtol=1e-4, atol=0)
    assert "product" not in vars(large)
    monkeypatch.undo()
    assert list(EqualisedMatrix(matrix).larger_blocks()) == []


@pytest.mark.parametrize("scales", [0.0, 0.7])
def test_what_a_block_does_not_reject_is_judged_as_a_whole(
    scales: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = gaussian(ROWS, COLS) * torch.exp(scales * gaussian(ROWS, 1, seed=1))
    result = floor(matrix)
    monkeypatch.setattr(null_tests.NullTests, "_rejected_by_block", lambda *_: None)
    monkeypatch.setattr(null_tests.NullTests, "_structured_block", lambda _: None)
    assert floor(matrix) == result
    assert result.accepted is not None
    assert result.accepted.name == ("sinkhorn" if scales else "plain")
    assert result.accepted.columns == result.test.columns == COLS


def test_columns_more_orthogonal_than_noise_are_judged_as_a_whole() -> None:
    result = floor(torch.linalg.qr(gaussian(ROWS, COLS)).Q)
    assert result.test.rectangle.z < -10
    assert result.test.columns == COLS


def _student(shape: tuple[int, int], generator: torch.Generator, freedom: int) -> torch.Tensor:
    below = torch.randn(freedom, *shape, generator=generator).square().mean(0)
    return torch.randn(shape, generator=generator) / below.sqrt()


def _laws() -> dict[str, Callable[[torch.Generator], torch.Tensor]]:
    shape = (256, 256)
    return {
        "gaussian": lambda g: torch.randn(shape, generator=g),
        "student": lambda g: _student(shape, g, 5),
        "uneven": lambda g: (
            torch.randn(shape, generator=g)
            * torch.exp(torch.randn(256, 1, generator=g))
            * torch.exp(torch.randn(256, generator=g))
        ),
        "one spike": lambda g: (
            torch.randn(shape, generator=g)
            + 3 / math.sqrt(256) * torch.randn(256, 1, generator=g) * torch.randn(256, generator=g)
        ),
    }


@pytest.mark.parametrize("law", _laws())
def test_blocks_hardly_ever_reject_noise(law: str) -> None:
    """Ten layers of a law: one with a block below 1e-4 has a chance of 0.1 %."""
    generator = torch.Generator().manual_seed(5)
    for _ in range(10):
        matrix = _laws()[law](generator)
        result = floor(matrix)
        assert all(null.columns == 256 for null in result.nulls)
        assert result.accepted is not None


@pytest.mark.parametrize("strength", [0.0, 1.4])
def test_signs_are_drawn_only_where_the_largest_eigenvalue_leaves_the_bulk(strength: float) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(6):
        left, right = torch.randn(120, 1, generator=generator), torch.randn(1, 80, generator=generator)
        spike = strength * 120**0.5 * (left / left.norm()) @ (right / right.norm())
        matrix = torch.randn(120, 80, generator=generator) + spike
        test, drawn = floor(matrix).test, floor(matrix, "plain").test
        assert test.edge is not None
        assert drawn.edge is not None
        assert len(drawn.edge.draws) == 4
        assert test.edge.largest == drawn.edge.largest
        if strength:
            assert test == drawn
        else:
            assert test.edge.draws == ()
            assert test.edge.p_value > 0.15
            assert drawn.edge.p_value > 0.02


def test_a_large_matrix_is_tested_in_float32_and_counted_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = gaussian(300, 200) * torch.exp(0.5 * gaussian(200, seed=1))
    single = floor(matrix)
    monkeypatch.setattr(equalised, "_SINGLE_FROM", 1000)
    precise = floor(matrix)
    monkeypatch.undo()
    assert EqualisedMatrix(matrix).product.dtype == torch.float32
    assert EqualisedMatrix(matrix.double()).product.dtype == torch.float64
    assert precise.accepted is not None
    assert single.accepted is not None
    assert single.accepted.name == precise.accepted.name == "sinkhorn"
    assert precise.accepted.fit is not None
    assert single.accepted.fit is not None
    assert single.accepted.fit.n_ks == pytest.approx(precise.accepted.fit.n_ks, abs=0.003)
    assert single.test.rectangle.z == pytest.approx(precise.test.rectangle.z, abs=1e-3)


@pytest.mark.parametrize("method", ["spectrum", "inertia", "krylov"])
def test_every_way_of_counting_agrees(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rank = 6
    matrix = gaussian(700, 600) + 8 * gaussian(700, rank, seed=1) @ gaussian(rank, 600, seed=2) / 600**0.5
    monkeypatch.setattr(equalised, "_KRYLOV_FROM", 100 if method == "krylov" else 10**6)
    even = EqualisedMatrix(matrix)
    if method == "spectrum":
        assert len(even.eigenvalues) == 600
    far = torch.tensor([1.0, 1e6])
    assert even.count_above(5.0 * 700, far) == rank
    assert ("eigenvalues" in vars(even)) == (method == "spectrum")
