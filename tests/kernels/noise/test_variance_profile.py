"""Sinkhorn's scaling and the Dyson equaliser: identities, and the counts of spikes in uneven noise."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.noise.floor import noise_floor
from rmtaudit.kernels.noise.marchenko_pastur import fit_bulk
from rmtaudit.kernels.noise.sign_flip import flipped_gram, largest_eigenvalue
from rmtaudit.kernels.noise.tracy_widom import soft_edge, upper_quantile
from rmtaudit.kernels.noise.variance_profile import Profile, dyson, equalised_gram, sinkhorn
from rmtaudit.kernels.spectra.gram import eigenvalues, gram

ROWS, COLS, SPIKES = 1200, 600, 10
LEVEL = 0.01


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(16, 60), cols=st.integers(16, 60), seed=st.integers(0, 2**31), spread=st.floats(0, 2))
def test_sinkhorn_evens_out_rows_and_columns(rows: int, cols: int, seed: int, spread: float) -> None:
    matrix = gaussian(rows, cols, seed=seed) * torch.exp(spread * gaussian(rows, 1, seed=seed + 1))
    profile = sinkhorn(matrix)
    square = (profile.rows[:, None] * matrix * profile.cols).square()
    assert square.mean(0) == pytest.approx(torch.ones(cols), abs=1e-3)
    assert square.mean(1) == pytest.approx(torch.ones(rows), abs=1e-3)


def test_sinkhorn_sees_magnitudes_alone() -> None:
    matrix = gaussian(30, 20)
    signs = torch.sign(gaussian(30, 20, seed=1))
    one, other = sinkhorn(matrix), sinkhorn(matrix * signs)
    assert torch.equal(one.rows, other.rows)
    assert torch.equal(one.cols, other.cols)


@pytest.mark.parametrize("find", [sinkhorn, dyson])
def test_dead_rows_and_columns_are_left_out(find: Callable[[torch.Tensor], Profile]) -> None:
    matrix = gaussian(80, 40)
    matrix[3] = 0
    matrix[:, 5] = 0
    profile = find(matrix)
    assert profile.support == (79, 39)
    assert profile.rows[3] == 0
    assert profile.cols[5] == 0


def test_sinkhorn_of_zeros_is_zero() -> None:
    assert sinkhorn(torch.zeros(5, 4)).support == (0, 0)


def test_dyson_finds_the_profile_of_its_model() -> None:
    """Noise of standard deviation x_i y_j: the scales found are its inverse."""
    x, y = (torch.exp(gaussian(size, 1, seed=size)) for size in (800, 400))
    profile = dyson(gaussian(800, 400) * x * y.T)
    product = profile.rows[:, None] * x * (profile.cols * y[:, 0])
    assert product.mean() == pytest.approx(1, abs=0.02)
    assert float(product.log().std()) < 0.1
    assert float(torch.log(x).std()) > 0.9


def test_dyson_starts_from_any_scaling() -> None:
    matrix = gaussian(200, 100)
    rows, cols = torch.exp(gaussian(200, seed=1)), torch.exp(gaussian(100, seed=2))
    undone = dyson(matrix * rows[:, None] * cols, Profile(1 / rows, 1 / cols))
    plain = dyson(matrix)
    assert undone.rows * rows == pytest.approx(plain.rows, rel=1e-6)
    assert undone.cols * cols == pytest.approx(plain.cols, rel=1e-6)


def test_dyson_refuses_what_it_cannot_scale() -> None:
    with pytest.raises(ArithmeticError, match="no scale"):
        dyson(gaussian(40, 4) @ gaussian(4, 30))
    with pytest.raises(ValueError, match="longer side"):
        dyson(gaussian(4, 8))


def uneven(log_sd: float, strengths: torch.Tensor) -> torch.Tensor:
    """Noise whose rows and columns have log-normal variances, and spikes in random directions.

    A spike's singular value is its strength times ``√1200`` root-mean-square entries of the noise.
    """
    x, y = (torch.exp(log_sd / 2 * gaussian(size, seed=size)) for size in (ROWS, COLS))
    noise = gaussian(ROWS, COLS) * x[:, None] * y
    left, right = (torch.linalg.qr(gaussian(size, SPIKES, seed=size + 1)).Q for size in (ROWS, COLS))
    scale = math.sqrt(ROWS) * float(noise.square().mean().sqrt())
    return noise + (left * strengths * scale) @ right.T


@pytest.mark.parametrize("log_sd", [0.35, 1.0])
@pytest.mark.parametrize("signal", [False, True])
def test_spikes_in_uneven_noise(log_sd: float, signal: bool) -> None:
    """The plain count is wrong by tens; sign-flip, Sinkhorn and Dyson invent none; Dyson finds all ten."""
    strengths = torch.linspace(1.2, 6, SPIKES, dtype=torch.float64) * signal
    matrix = uneven(log_sd, strengths)
    centre, width = soft_edge(ROWS, COLS)
    edge = centre + upper_quantile(LEVEL) * width

    spectrum = eigenvalues(gram(matrix))
    plain = fit_bulk(spectrum, ROWS, COLS).spikes
    even = sinkhorn(matrix)
    by_sinkhorn = int((eigenvalues(equalised_gram(matrix, even)) > edge).sum())
    by_dyson = int((eigenvalues(equalised_gram(matrix, dyson(matrix, even))) > edge).sum())
    flat = Profile(torch.ones(ROWS, dtype=torch.float64), torch.ones(COLS, dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    flipped = max(largest_eigenvalue(flipped_gram(matrix, flat, generator)) for _ in range(3))
    by_signs = int((spectrum > flipped).sum())

    assert plain > (15 if log_sd < 1 else 60)
    if signal:
        assert by_dyson == SPIKES
        assert by_signs <= by_sinkhorn <= SPIKES
        assert by_signs < by_dyson
    else:
        assert (by_signs, by_sinkhorn, by_dyson) == (0, 0, 0)


@pytest.mark.parametrize("log_sd", [0.35, 1.0])
def test_the_noise_floor_takes_the_null_that_fits(log_sd: float) -> None:
    matrix = uneven(log_sd, torch.linspace(1.2, 6, SPIKES, dtype=torch.float64))
    spectrum = eigenvalues(gram(matrix))
    floor = noise_floor(matrix, spectrum, generator=torch.Generator().manual_seed(0))
    assert floor.accepted is not None
    assert floor.accepted.name == "dyson"
    assert len(floor.spikes) == SPIKES
    assert floor.test.p_value < 1e-6
    assert 0 < floor.signal_share < 1
    strengths = [spike.shape.strength for spike in floor.spikes]
    assert strengths == sorted(strengths, reverse=True)
