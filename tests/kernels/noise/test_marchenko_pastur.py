"""The Marchenko-Pastur law against quadrature and moments, and the fit of the bulk on known spectra."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.linalg import eigvalsh_tridiagonal

from rmtaudit.kernels.noise.marchenko_pastur import BulkFit, MarchenkoPastur, fit_bulk, ks_distance
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues

RATIOS = (0.0125, 0.3, 0.5, 0.9, 1.0, 2.0, 10.0)


def integrate(law: MarchenkoPastur, upto: float, power: int = 0) -> float:
    """∫ x^power pdf(x) dx from the lower edge, in the angle that takes the roots at both edges away."""
    low, high = law.edges
    end = math.acos(max(-1.0, 1 - 2 * (upto - low) / (high - low)))

    def integrand(theta: float) -> float:
        x = low + (high - low) * math.sin(theta / 2) ** 2
        at = torch.tensor([x], dtype=torch.float64)
        return x**power * float(law.pdf(at)) * (high - low) * math.sin(theta) / 2

    return quad(integrand, 0, end, epsabs=1e-13, epsrel=1e-13, limit=200)[0]


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_closed_form_agrees_with_quadrature(ratio: float) -> None:
    law = MarchenkoPastur(1.7, ratio)
    low, high = law.edges
    for share in (0.05, 0.3, 0.5, 0.8, 0.99):
        x = low + share * (high - low)
        value = float(law.cdf(torch.tensor([x], dtype=torch.float64)))
        assert value == pytest.approx(law.atom + integrate(law, x), abs=2e-12)


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_moments_agree_with_quadrature(ratio: float) -> None:
    law = MarchenkoPastur(0.6, ratio)
    assert law.moment(0) == 1
    assert law.moment(1) == pytest.approx(0.6)
    assert law.moment(2) == pytest.approx(0.36 * (1 + ratio))
    for order in (1, 2, 3, 4):
        assert integrate(law, law.edges[1], order) == pytest.approx(law.moment(order), rel=1e-10)


@settings(deadline=None)
@given(
    ratio=st.floats(0.002, 50),
    variance=st.floats(1e-6, 1e6),
    level=st.floats(0, 1),
)
def test_quantiles_invert_the_distribution(ratio: float, variance: float, level: float) -> None:
    law = MarchenkoPastur(variance, ratio)
    quantile = law.ppf(torch.tensor([level], dtype=torch.float64))
    if level > law.atom + 1e-9:
        assert float(law.cdf(quantile)) == pytest.approx(level, abs=1e-9)
    elif level < law.atom:
        assert float(quantile) == 0


@settings(deadline=None)
@given(ratio=st.floats(0.01, 20), share=st.floats(0.01, 0.99))
def test_a_transposed_matrix_has_the_same_law_but_for_zeros(ratio: float, share: float) -> None:
    """XXᵀ/n and XᵀX/p have the same eigenvalues but for zeros and the factor n/p."""
    law, other = MarchenkoPastur(1.0, ratio), MarchenkoPastur(1.0, 1 / ratio)
    low, high = law.edges
    x = torch.tensor([low + share * (high - low)], dtype=torch.float64)
    alive, other_alive = 1 - law.atom, 1 - other.atom
    mine = (float(law.cdf(x)) - law.atom) / alive
    theirs = (float(other.cdf(x / ratio)) - other.atom) / other_alive
    assert mine == pytest.approx(theirs, abs=1e-10)


def test_nothing_lies_outside_the_edges() -> None:
    law = MarchenkoPastur(2.0, 0.25)
    assert law.edges == pytest.approx((0.5, 4.5))
    outside = torch.tensor([-1.0, 0.49, 4.51])
    assert law.pdf(outside).tolist() == [0, 0, 0]
    assert law.cdf(outside).tolist() == [0, 0, 1]
    assert law.ppf(torch.tensor([])).tolist() == []


def test_the_median_is_that_of_gavish_and_donoho() -> None:
    """ω(1) = λ*/√μ = 2.858 (Gavish, Donoho 2014)."""
    assert 4 / math.sqrt(3) / math.sqrt(MarchenkoPastur(1.0, 1.0).median) == pytest.approx(2.858, abs=5e-4)


@pytest.mark.parametrize(("variance", "ratio"), [(0.0, 1.0), (math.nan, 1.0), (1.0, 0.0), (1.0, math.inf)])
def test_impossible_laws_are_refused(variance: float, ratio: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        MarchenkoPastur(variance, ratio)


def test_impossible_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        MarchenkoPastur(1.0, 1.0).ppf(torch.tensor([1.5]))


@settings(deadline=None, max_examples=30)
@given(p=st.integers(16, 200), aspect=st.floats(1, 30), variance=st.floats(1e-8, 1e8), turned=st.booleans())
def test_the_law_itself_is_fitted_exactly(p: int, aspect: float, variance: float, turned: bool) -> None:
    n = math.ceil(p * aspect)
    ranks = (torch.arange(p, dtype=torch.float64) + 0.5) / p
    values = MarchenkoPastur(variance, p / n).ppf(ranks) * n
    fit = fit_bulk(values, *((p, n) if turned else (n, p)))
    assert fit.variance == pytest.approx(variance, rel=1e-9)
    assert fit.spikes == 0
    assert fit.n_ks == pytest.approx(0.5, abs=1e-5)


def gaussian_fit(rows: int, cols: int, strengths: tuple[float, ...] = (), seed: int = 0) -> BulkFit:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, cols, generator=generator, dtype=torch.float64)
    for index, strength in enumerate(strengths):
        matrix[index, index] += strength * math.sqrt(max(rows, cols))
    return fit_bulk(gram_eigenvalues(matrix).eigenvalues, rows, cols)


def test_a_large_gaussian_matrix() -> None:
    """Eigenvalues are rigid: a distance of 0.002 at 1500, where independent values would have 0.02."""
    rng = np.random.default_rng(0)
    # the eigenvalues of a 3000 x 1500 Gaussian matrix, through its bidiagonal form (Dumitriu, Edelman 2002)
    diagonal, below = (
        np.sqrt(rng.chisquare(3000 - np.arange(1500))),
        np.sqrt(rng.chisquare(np.arange(1499, 0, -1))),
    )
    square = diagonal**2
    square[1:] += below**2
    values = eigvalsh_tridiagonal(square, diagonal[:-1] * below, lapack_driver="sterf")
    fit = fit_bulk(torch.from_numpy(values), 3000, 1500)
    # rigidity: a quantile, and with it the scale, is off by a few times 1/p
    assert fit.variance == pytest.approx(1, abs=3 / 1500)
    assert fit.spikes == 0
    assert fit.ks_distance == pytest.approx(0.002, abs=0.001)
    assert fit.lambda_plus == pytest.approx(fit.variance * (math.sqrt(3000) + math.sqrt(1500)) ** 2)


def test_spikes_are_taken_off_one_after_the_other() -> None:
    fit = gaussian_fit(600, 300, (2, 3, 5, 8, 30))
    assert fit.spikes == 5
    assert fit.variance == pytest.approx(1, abs=0.03)
    assert fit.n_ks < 5


def test_a_decaying_bulk_is_far_from_the_law() -> None:
    values = torch.logspace(-3, 3, 300, dtype=torch.float64)
    assert fit_bulk(values, 300, 300).n_ks > 10


def test_a_fit_at_384_takes_less_than_5_ms() -> None:
    values = gram_eigenvalues(torch.randn(384, 384, generator=torch.Generator().manual_seed(1))).eigenvalues
    seconds = []
    for _ in range(10):
        started = time.process_time()
        fit_bulk(values, 384, 384)
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.005


def test_spectra_without_a_bulk_are_refused() -> None:
    with pytest.raises(ArithmeticError, match="no bulk"):
        fit_bulk(torch.cat([torch.zeros(30), torch.ones(10)]), 40, 40)
    with pytest.raises(ValueError, match="has 40 eigenvalues, not 39"):
        fit_bulk(torch.ones(39), 40, 50)
    with pytest.raises(ValueError, match="needs 8"):
        fit_bulk(torch.ones(4), 4, 50)


def test_the_distance_looks_at_both_sides_of_a_step() -> None:
    law = MarchenkoPastur(1.0, 1.0)
    assert ks_distance(torch.tensor([law.median], dtype=torch.float64), law) == pytest.approx(0.5)
    assert ks_distance(torch.zeros(3, dtype=torch.float64), law) == pytest.approx(1.0)
