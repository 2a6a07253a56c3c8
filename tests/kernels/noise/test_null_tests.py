"""A block of columns rejects what the whole matrix rejects, and never accepts on its own."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from rmtaudit.kernels.noise import null_tests
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
