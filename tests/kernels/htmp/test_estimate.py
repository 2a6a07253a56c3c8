"""Estimates of kappa: the likelihood against its formula, recovery, and matrices whose kappa is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.estimate import _relative_variance, _Score, fit_joint, fit_moment, moment_kappa
from rmtaudit.kernels.htmp.vandermonde import log_vandermonde


def _spectrum(rows: int, cols: int, *, seed: int = 0, complex_: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.complex128 if complex_ else torch.float64
    matrix = torch.randn(rows, cols, dtype=dtype, generator=generator)
    return torch.linalg.eigvalsh(matrix @ matrix.mH)


@given(
    st.lists(st.floats(1e-12, 1e6), min_size=2, max_size=40, unique=True),
    st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_the_vandermonde_is_the_sum_of_logarithms(values: list[float], power: int) -> None:
    x = np.sort(np.array(values)) * 10.0**power
    pairs = [math.log(b - a) for i, a in enumerate(x) for b in x[i + 1 :]]
    assert log_vandermonde(x) == pytest.approx(math.fsum(pairs), rel=1e-10, abs=1e-8)


def test_equal_values_have_no_vandermonde() -> None:
    assert log_vandermonde(np.array([1.0, 2.0, 2.0])) == -math.inf
    assert log_vandermonde(np.array([7.0])) == 0.0


@pytest.mark.parametrize("shape", [(5, 9), (6, 6)])
@pytest.mark.parametrize("kappa", [0.3, 4.0, 80.0])
def test_the_score_is_the_derivative_of_the_likelihood(shape: tuple[int, int], kappa: float) -> None:
    size, longer = shape
    x = np.linspace(0.5, 2.0, size) ** 2
    x /= x.mean()
    vandermonde = log_vandermonde(x)

    def likelihood(h: float) -> float:
        """Selberg's integral as it stands in the books, with the scale at its best."""
        a, least = h * longer, h * (longer - size + 1)
        scale = 1 / a
        normaliser = size * a * math.log(scale) - size * math.lgamma(1 + h)
        normaliser += sum(
            math.lgamma(1 + j * h) + math.lgamma(least + (j - 1) * h) for j in range(1, size + 1)
        )
        return (
            (least - 1) * float(np.log(x).sum()) - float(x.sum()) / scale + 2 * h * vandermonde - normaliser
        )

    h, step = kappa / (2 * size), 1e-4 * kappa / (2 * size)
    statistic = (longer - size + 1) * float(np.log(x).sum()) + 2 * vandermonde
    slope, curvature = _Score(size, longer, statistic).derivatives(h)
    below, here, above = (likelihood(h + shift) for shift in (-step, 0.0, step))
    assert slope == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-5)
    assert curvature == pytest.approx((above - 2 * here + below) / step**2, rel=1e-3)


def test_the_normaliser_is_an_integral() -> None:
    """Two eigenvalues: the ensemble's mean of |y1 - y2|^2h from its own draws, against Selberg."""
    ensemble = Ensemble(kappa=3.0, size=2, longer=4)
    h, shape = ensemble.half_beta, ensemble.delta
    rng = np.random.default_rng(0)
    pairs = rng.standard_gamma(shape, (400_000, 2))
    mean = float((np.abs(pairs[:, 0] - pairs[:, 1]) ** (2 * h)).mean())
    log = sum(math.lgamma(1 + j * h) + math.lgamma(shape + (j - 1) * h) for j in (1, 2))
    log -= 2 * math.lgamma(1 + h) + 2 * math.lgamma(shape)
    assert mean == pytest.approx(math.exp(log), rel=0.02)


@pytest.mark.parametrize(
    ("gamma", "kappa"),
    [(0.25, 0.5), (0.25, 10.0), (0.5, 1.0), (0.5, 50.0), (0.8, 3.0), (1.0, 30.0), (1.0, 400.0)],
)
def test_kappa_is_recovered_with_its_error(gamma: float, kappa: float) -> None:
    ensemble = Ensemble(kappa, 400, round(400 / gamma))
    generator = torch.Generator().manual_seed(3)
    errors: dict[str, list[float]] = {"joint": [], "moment": []}
    for _ in range(16):
        values = torch.from_numpy(ensemble.draw(generator))
        # in a Gaussian matrix (kappa = 400) the moments alone leave kappa open
        for fit in (fit_joint, fit_moment)[: 2 if kappa < 100 else 1]:
            found = fit(values, 400, ensemble.longer)
            assert found.log_se is not None
            errors[found.method].append(math.log(found.kappa / kappa) / found.log_se)
    for z in (np.array(found) for found in errors.values() if found):
        assert abs(z.mean()) < 4 / math.sqrt(z.size)
        assert 0.5 < z.std(ddof=1) < 1.6


def test_a_real_gaussian_matrix_has_kappa_n_and_a_complex_one_two_n() -> None:
    assert fit_joint(_spectrum(500, 1000), 500, 1000).kappa == pytest.approx(500, rel=0.15)
    assert fit_joint(_spectrum(500, 1000, complex_=True), 1000, 500).kappa == pytest.approx(1000, rel=0.15)
    square = fit_joint(_spectrum(500, 500), 500, 500)
    assert square.dyson_index == pytest.approx(1, rel=0.15)
    assert square.gamma == 1
    assert square.a == pytest.approx(square.kappa / 2)


def test_a_few_spikes_change_kappa_and_taking_them_off_restores_it() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(500, 1000, dtype=torch.float64, generator=generator)
    left = torch.linalg.qr(torch.randn(500, 5, dtype=torch.float64, generator=generator)).Q
    right = torch.linalg.qr(torch.randn(1000, 5, dtype=torch.float64, generator=generator)).Q
    matrix += left @ torch.diag(torch.tensor([70.0, 85, 100, 120, 150]).double()) @ right.T
    values = torch.linalg.eigvalsh(matrix @ matrix.T)
    assert fit_joint(values, 500, 1000).kappa < 20
    assert fit_joint(values[:-5], 495, 995).kappa == pytest.approx(500, rel=0.15)


@given(st.integers(-60, 60), st.booleans())
@settings(max_examples=20, deadline=None)
def test_neither_unit_nor_orientation_matters(power: int, turned: bool) -> None:
    values = torch.from_numpy(Ensemble(5.0, 30, 45).draw(torch.Generator().manual_seed(1)))
    rows, cols = (45, 30) if turned else (30, 45)
    for fit in (fit_joint, fit_moment):
        before, after = fit(values, 30, 45), fit(values * 2.0**power, rows, cols)
        assert after.kappa == pytest.approx(before.kappa, rel=1e-9)
        assert after.se == pytest.approx(before.se, rel=1e-9)


@given(st.floats(0.05, 4000), st.integers(3, 60), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_moments_of_the_ensemble_give_its_kappa(kappa: float, size: int, more: int) -> None:
    ensemble = Ensemble(kappa, size, size + more)
    a = ensemble.chain()
    total = a.sum()
    square = (a * (a + 1)).sum() + 2 * (a[:-1] * a[1:]).sum()
    # R = tr G²/(tr G)² is independent of tr G, a Gamma variable
    found = moment_kappa(1.0, float(square / (total * (total + 1))), size, size + more)
    assert found.kappa == pytest.approx(kappa, rel=1e-6)


@pytest.mark.parametrize("kappa", [0.5, 10.0, 40.0])
def test_the_variance_of_the_second_moment_is_exact(kappa: float) -> None:
    ensemble = Ensemble(kappa, 12, 20)
    w = np.random.default_rng(0).standard_gamma(ensemble.chain(), (200_000, 23))
    ratio = ((w**2).sum(1) + 2 * (w[:, :-1] * w[:, 1:]).sum(1)) / w.sum(1) ** 2
    assert _relative_variance(ensemble) == pytest.approx(ratio.var() / ratio.mean() ** 2, rel=0.02)


def test_draws_are_the_spectra_of_gaussian_matrices_where_kappa_is_n() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = np.stack([Ensemble(8.0, 8, 12).draw(generator) for _ in range(3000)])
    matrices = torch.randn(3000, 8, 12, dtype=torch.float64, generator=generator)
    direct = torch.linalg.eigvalsh(matrices @ matrices.mT).numpy() / 12
    assert drawn.mean(0) == pytest.approx(direct.mean(0), rel=0.06)
    assert drawn.var(0) == pytest.approx(direct.var(0), rel=0.25)


def test_what_has_no_kappa_says_why() -> None:
    with pytest.raises(ArithmeticError, match="equal"):
        fit_joint(torch.tensor([1.0, 1.0, 2.0, 3.0]), 4, 6)
    with pytest.raises(ArithmeticError, match="less than"):
        fit_moment(torch.tensor([1.0, 1.01, 1.02, 1.03]), 4, 6)
    with pytest.raises(ArithmeticError, match="no kappa"):
        fit_moment(torch.tensor([0.0, 0.0, 0.0, 1.0]), 4, 6)
    with pytest.raises(ValueError, match="positive"):
        fit_joint(torch.tensor([0.0, 1.0, 2.0]), 3, 6)
    with pytest.raises(ValueError, match="has 4 eigenvalues"):
        fit_joint(torch.tensor([1.0, 2.0, 3.0]), 4, 6)
    with pytest.raises(ValueError, match="ascending"):
        fit_joint(torch.tensor([3.0, 2.0, 1.0]), 3, 6)
