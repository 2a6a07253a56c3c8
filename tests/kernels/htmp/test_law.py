"""The law HTMP: the reference table, closed forms, its limits, and its own ensemble."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.law import HTMP, InverseHTMP
from rmtaudit.kernels.noise.marchenko_pastur import MarchenkoPastur

# gamma, kappa, x, pdf, cdf: Tricomi's function in 40 digits, and a second method
REFERENCE = """
0.25 2 0.05 0.1558817365441 0.002916947538215
0.25 2 0.25 0.7210754158016 0.1071444762107
0.25 2 1 0.4822494726506 0.585312681996
0.25 2 2.5 0.08155683713537 0.9606213789947
0.25 2 6 5.665346693473e-6 0.9999982805232
0.25 10 0.05 4.609296779191e-7 1.729054981743e-9
0.25 10 0.25 0.5057173746938 0.02632526168708
0.25 10 1 0.5844554629089 0.5609960178237
0.25 10 2.5 0.03169686209147 0.9954161159256
0.5 0.5 0.05 1.681234216194 0.2851572184426
0.5 0.5 1 0.1941252880065 0.6983753989455
0.5 0.5 6 0.01044554523201 0.9798556204355
0.5 1 0.05 1.58432816274 0.1598960443964
0.5 1 0.25 0.6692790741855 0.3509947125767
0.5 1 1 0.2621809022554 0.6532016574556
0.5 1 2.5 0.08639795535253 0.886920921849
0.5 1 6 0.005439014986025 0.993895519938
0.5 2 0.25 0.7346620960297 0.2658560546197
0.5 2 1 0.3224841388216 0.6213869370594
0.5 2 6 0.001158868752566 0.9992839936904
0.5 5 0.05 0.7890064736503 0.02252596985233
0.5 5 1 0.3759588121484 0.5966548466711
0.5 5 2.5 0.1083831178069 0.9326728853605
0.5 5 6 8.651663791781e-6 0.9999977079496
0.5 20 0.05 0.1265122423562 0.0009992984962621
0.5 20 0.25 0.8211859975312 0.1521081840462
0.5 20 1 0.4091957562543 0.5815923940649
0.75 3 0.05 1.500286878106 0.1509709625576
0.75 3 0.25 0.6452552653844 0.3333333333333
0.75 3 1 0.2713076708678 0.633560624021
0.75 3 6 0.00237060044958 0.9984157402876
0.125 1 0.05 0.03289005853563 0.0005021792927664
0.125 1 1 0.5871718604323 0.5763946802568
0.125 1 6 1.589199259435e-6 0.9999995338509
"""
ROWS = [tuple(float(word) for word in line.split()) for line in REFERENCE.split("\n") if line]


def _at(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("gamma", "kappa", "x", "pdf", "cdf"), ROWS)
def test_the_reference_table(gamma: float, kappa: float, x: float, pdf: float, cdf: float) -> None:
    law = HTMP(gamma, kappa)
    assert float(law.pdf(_at(x))) == pytest.approx(pdf, rel=1e-10)
    assert float(law.cdf(_at(x))) == pytest.approx(cdf, rel=1e-10)
    # 13 digits of the table leave the share above uncertain by 1e-13
    assert float(law.sf(_at(x))) == pytest.approx(1 - cdf, rel=1e-10, abs=2e-13)
    assert float(law.ppf(_at(cdf))) == pytest.approx(x, rel=1e-6)


@pytest.mark.parametrize(
    ("c", "delta", "y"),
    [
        (20.0, 20.0, 30.0),
        (20.0, 20.0, 100.0),
        (20.0, 0.3, 1e-8),
        (0.025, 4.0, 2.0),
        (1.0, 1e-3, 1e-30),
        (40.0, 7.0, 300.0),
    ],
)
def test_the_density_is_tricomis(c: float, delta: float, y: float) -> None:
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        tricomi = abs(mpmath.hyperu(c, 1 - mpmath.mpf(delta), -mpmath.mpf(y)))
        log = (mpmath.mpf(delta) - 1) * mpmath.log(y) - y - 2 * mpmath.log(tricomi)
        expected = float(log - mpmath.loggamma(c + 1) - mpmath.loggamma(mpmath.mpf(c) + mpmath.mpf(delta)))
    law = HTMP(c / (c + delta), 2 * c, mean=c + delta)
    assert float(law.logpdf(_at(y))) == pytest.approx(expected, abs=1e-9, rel=1e-11)


def test_kappa_two_is_an_incomplete_gamma_function() -> None:
    """``U(1, 2-a, z) = e^z z^(a-1) G(1-a, z)``, and ``E 1/(y+t)`` is a quotient of two of them."""
    a, t = 3.5, 0.7
    upper = special.gamma(0.5) * special.gammaincc(0.5, t)  # G(1/2, t)
    for order in (-0.5, -1.5, -2.5):  # G(s, t) = (G(s+1, t) - t^s e^-t)/s
        upper = (upper - t**order * math.exp(-t)) / order
    potential = -math.log(math.exp(t) * t ** (a - 1) * upper)
    law = HTMP(1 / a, 2.0, mean=a)
    assert float(law.log_potential(_at(t))) == pytest.approx(potential, rel=1e-9)


@given(st.floats(0.02, 0.98), st.floats(0.05, 4000))
@settings(max_examples=25, deadline=None)
def test_closed_forms_of_the_means(gamma: float, kappa: float) -> None:
    law = HTMP(gamma, kappa, mean=2.0)
    nodes = torch.tensor(law.table.nodes) * (law.mean / law.a)
    weights = torch.tensor(law.table.weights)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-10)
    assert float(weights @ nodes) == pytest.approx(2.0, rel=1e-9)
    assert float(weights @ nodes**2) == pytest.approx(4 * (1 + gamma + 2 * gamma / kappa), rel=1e-9)
    assert law.moment(2) == pytest.approx(4 * (1 + gamma + 2 * gamma / kappa), rel=1e-9)
    assert float(weights @ nodes**3) == pytest.approx(law.moment(3), rel=1e-9)
    if law.delta > 0.2:
        assert float(weights @ nodes.log()) == pytest.approx(law.mean_log, rel=1e-7, abs=1e-8)
    if law.delta > 1.2:
        assert float(weights @ (1 / nodes)) == pytest.approx(law.mean_inverse, rel=1e-6)


@given(st.floats(0.02, 0.98), st.floats(0.05, 4000), st.floats(1e-9, 1 - 1e-9))
@settings(max_examples=25, deadline=None)
def test_quantiles_invert_the_distribution(gamma: float, kappa: float, level: float) -> None:
    law = HTMP(gamma, kappa)
    x = law.ppf(_at(level))
    assume_representable = float(x) > 1e-300
    if assume_representable:
        assert float(law.cdf(x)) == pytest.approx(level, rel=1e-10)
        assert float(law.cdf(x) + law.sf(x)) == pytest.approx(1, abs=1e-12)


@given(st.floats(0.1, 0.9), st.integers(1, 6), st.floats(-1e-6, 1e-6))
@settings(max_examples=20, deadline=None)
def test_integer_delta_is_nothing_special(gamma: float, delta: int, off: float) -> None:
    kappa = 2 * delta * gamma / (1 - gamma)
    x = _at(0.1, 0.7, 2.0)
    there, beside = HTMP(gamma, kappa).logpdf(x), HTMP(gamma, kappa * (1 + off)).logpdf(x)
    assert torch.isfinite(there).all()
    assert torch.allclose(there, beside, rtol=0, atol=1e-4)


@given(st.floats(0.05, 0.95), st.floats(0.1, 300), st.floats(0.02, 5), st.floats(0.003, 3))
@settings(max_examples=25, deadline=None)
def test_the_stieltjes_transform_solves_its_equation(
    gamma: float, kappa: float, y: float, off: float
) -> None:
    law = HTMP(gamma, kappa, mean=kappa / (2 * gamma))  # the unit of the equation
    c, b = kappa / 2, 1 - law.delta
    t = torch.tensor(complex(-y * law.a, off * law.a), dtype=torch.complex128)
    step = 1e-3 * off * law.a
    s = law.stieltjes(t)
    slope = (law.stieltjes(t + step) - law.stieltjes(t - step)) / (2 * step)
    expected = c * s * s - (b - t) * s / t - 1 / t
    scale = abs(c * s * s) + abs((b - t) * s / t) + abs(1 / t)
    assert abs(slope - expected) < 1e-5 * scale


def test_the_stieltjes_transform_on_the_cut_is_the_density() -> None:
    law = HTMP(0.3, 4.0)
    x = torch.logspace(-2, 0.6, 30, dtype=torch.float64)
    jump = law.stieltjes(-x.to(torch.complex128)).imag / -math.pi
    assert torch.allclose(jump, law.pdf(x), rtol=1e-8)


def test_the_numbers_of_the_transforms() -> None:
    law = HTMP(0.5, 3.0, mean=3.0)
    assert float(law.stieltjes(_at(1.0))) == pytest.approx(0.38334, abs=5e-6)
    assert float(law.log_potential(_at(1.0))) == pytest.approx(1.1669, abs=5e-5)
    at = 0.4
    step = 1e-5
    slope = (law.stieltjes(_at(at + step)) - law.stieltjes(_at(at - step))) / (2 * step)
    assert float(law.ridge_bias(_at(at))) == pytest.approx(float(-(at**2) * slope), rel=1e-8)


def test_the_limit_is_marchenko_pastur() -> None:
    x = torch.linspace(0.15, 2.6, 40, dtype=torch.float64)
    limit = MarchenkoPastur(1.0, 0.5)
    far = (HTMP(0.5, 4000.0).cdf(x) - limit.cdf(x)).abs().max()
    further = (HTMP(0.5, 40_000.0).cdf(x) - limit.cdf(x)).abs().max()
    assert further < 0.2 * far < 1e-3


def test_the_limit_of_small_gamma_is_a_gamma_law() -> None:
    x = torch.linspace(0.05, 3, 40, dtype=torch.float64)
    law = HTMP(1e-6, 5e-6)
    assert law.cdf(x).numpy() == pytest.approx(stats.gamma(2.5, scale=1 / 2.5).cdf(x.numpy()), abs=1e-5)


@pytest.mark.parametrize(
    ("gamma", "kappa"), [(0.25, 2.0), (0.5, 10.0), (0.8, 3.0), (1.0, 30.0), (1.0, 300.0)]
)
def test_the_ensemble_follows_its_law(gamma: float, kappa: float) -> None:
    ensemble = Ensemble(kappa, 300, round(300 / gamma))
    generator = torch.Generator().manual_seed(1)
    values = np.sort(np.concatenate([ensemble.draw(generator) for _ in range(20)]))
    law = HTMP.of(ensemble)
    distance = np.abs(law.cdf(torch.from_numpy(values)).numpy() - (np.arange(6000) + 0.5) / 6000).max()
    assert distance < 1.63 / math.sqrt(6000)
    a, h = ensemble.a, ensemble.half_beta
    assert law.moment(2) == pytest.approx(1 + (1 + h * (ensemble.size - 1)) / a, rel=1e-12)
    assert law.delta == pytest.approx(ensemble.delta, rel=1e-9)


def test_the_inverse_law() -> None:
    law = InverseHTMP(HTMP(0.5, 5.0, mean=2.0))
    x = torch.logspace(-1, 2, 2000, dtype=torch.float64)
    assert float(torch.trapezoid(law.pdf(x), x)) == pytest.approx(
        float(law.cdf(x[-1:]) - law.cdf(x[:1])), abs=1e-5
    )
    assert torch.allclose(law.cdf(x) + law.sf(x), torch.ones_like(x))
    assert law.cdf(law.ppf(_at(0.2, 0.9))).tolist() == pytest.approx([0.2, 0.9])
    far = _at(1e4, 1e5)
    slope = float(law.logpdf(far).diff()) / math.log(10)
    assert slope == pytest.approx(-law.alpha, abs=1e-2)
    assert law.pdf(_at(0.0, -1.0)).tolist() == [0, 0]
    assert law.sf(_at(-1.0)).tolist() == [1]


def test_outside_the_half_line_there_is_nothing() -> None:
    law = HTMP(0.5, 1.0)
    assert law.pdf(_at(-1.0, 0.0, 1e6)).tolist() == [0, 0, 0]
    assert law.cdf(_at(-1.0, 0.0, 1e6)).tolist() == [0, 0, 1]
    assert law.ppf(_at(0.0, 1.0)).tolist() == [0, math.inf]
    assert law.cdf(_at(1e-30)).item() == pytest.approx(law.cdf(_at(1e-29)).item() * 0.1**law.delta, rel=1e-6)
    with pytest.raises(ValueError, match="between 0 and 1"):
        law.ppf(_at(1.5))
    with pytest.raises(ValueError, match="positive"):
        law.stieltjes(_at(0.0))
    for gamma, kappa, mean in ((1.0, 1.0, 1.0), (0.5, 0.0, 1.0), (0.5, 1.0, -1.0)):
        with pytest.raises(ValueError, match="must"):
            HTMP(gamma, kappa, mean)


def test_draws_follow_the_law() -> None:
    law = HTMP(0.4, 3.0, mean=5.0)
    values = law.draw(2000, torch.Generator().manual_seed(0)).numpy()

    def cdf(x: Any) -> Any:
        return law.cdf(torch.from_numpy(np.atleast_1d(x))).numpy()

    assert stats.kstest(values, cdf).pvalue > 1e-3
