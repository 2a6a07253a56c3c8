"""Row-scaled Marchenko-Pastur laws against the equation of Silverstein and Bai, solved on its own."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch

from rmtaudit.kernels.free import laws
from rmtaudit.kernels.free.deformed import companion_power, deformed_quantiles
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.measure import LevyMeasure
from rmtaudit.kernels.free.rows import RowScaledLaw
from rmtaudit.kernels.free.validation import ks_distance

SCALES = [((2.0,), (1.0,)), ((1.0, 10.0), (0.7, 0.3)), ((0.2, 1.0, 30.0), (0.5, 0.3, 0.2))]
RATIO = 0.125
FACTORS = (0.5, 1.0, 4.0, 16.0)


def law(scales: tuple[float, ...], weights: tuple[float, ...], ratio: float = RATIO) -> RowScaledLaw:
    return RowScaledLaw(
        torch.tensor(scales, dtype=torch.float64), torch.tensor(weights, dtype=torch.float64), ratio
    )


def polynomials(
    scales: tuple[float, ...], weights: tuple[float, ...], c: float
) -> tuple[np.poly1d, np.poly1d]:
    """Return ``A, B`` of ``z m A(m) + B(m) = 0``, from ``z = -1/m + c Σ w h/(1 + hm)``."""
    factors = [np.poly1d([h, 1.0]) for h in scales]
    whole = np.poly1d([1.0])
    for factor in factors:
        whole *= factor
    rest = np.poly1d([0.0])
    for index, (h, weight) in enumerate(zip(scales, weights, strict=True)):
        part = np.poly1d([c * weight * h])
        for other, factor in enumerate(factors):
            if other != index:
                part *= factor
        rest += part
    return whole, whole - np.poly1d([1.0, 0.0]) * rest


def roots(scales: tuple[float, ...], weights: tuple[float, ...], c: float, x: np.ndarray) -> np.ndarray:
    """Return the roots in ``m`` for every ``x``, shape ``(M, K + 1)``: eigenvalues of companion matrices."""
    whole, rest = polynomials(scales, weights, c)
    first = np.append(whole.coeffs, 0.0)
    other = np.append(np.zeros(len(first) - len(rest.coeffs)), rest.coeffs)
    rows = x[:, None] * first + other
    matrices = np.zeros((len(x), len(first) - 1, len(first) - 1))
    matrices[:, 0] = -rows[:, 1:] / rows[:, :1]
    matrices[:, np.arange(1, len(first) - 1), np.arange(len(first) - 2)] = 1
    return np.linalg.eigvals(matrices).astype(complex)


def density(scales: tuple[float, ...], weights: tuple[float, ...], c: float, x: np.ndarray) -> np.ndarray:
    """Return the density of the companion at ``x``, shape ``(M,)``."""
    return np.asarray(roots(scales, weights, c, x).imag.max(1) / math.pi)


def edges(scales: tuple[float, ...], weights: tuple[float, ...], c: float) -> list[float]:
    """Return the ends of the support: values of ``z(m)`` at real ``m`` where its derivative is 0."""
    whole, rest = polynomials(scales, weights, c)
    below = np.poly1d([1.0, 0.0]) * whole
    critical = (rest.deriv() * below - rest * below.deriv()).roots
    real = critical[np.abs(critical.imag) < 1e-9 * np.abs(critical)].real
    return sorted(float(-rest(m) / below(m)) for m in real)


def level(scales: tuple[float, ...], weights: tuple[float, ...], c: float, x: float) -> float:
    """Return the mass of the continuous part of the companion below ``x``, by quadrature in the angle."""
    nodes, shares = np.polynomial.legendre.leggauss(140)
    total = 0.0
    ends = [end for end in edges(scales, weights, c) if end > 0]
    for low, high in zip(ends[::2], ends[1::2], strict=True):
        middle, radius = (low + high) / 2, (high - low) / 2
        end = math.acos(min(max((middle - x) / radius, -1.0), 1.0))
        angles = end * (nodes + 1) / 2
        values = density(scales, weights, c, middle - radius * np.cos(angles)) * np.sin(angles)
        total += radius * end / 2 * float(np.dot(shares, values))
    return total


@pytest.mark.parametrize(("scales", "weights"), SCALES)
@pytest.mark.parametrize("factor", FACTORS)
def test_solves_the_equation_of_silverstein_and_bai(
    scales: tuple[float, ...], weights: tuple[float, ...], factor: float
) -> None:
    c = RATIO * factor
    grown = law(scales, weights).decompress(factor)
    assert grown.companion.mass == pytest.approx(1, abs=1e-9)
    zeros = max(0.0, 1 - c)
    ends = [end for end in edges(scales, weights, c) if end > 0]
    found = [end for pair in grown.companion.edges for end in pair]
    np.testing.assert_allclose(found, ends, rtol=1e-9)
    places = [
        low + (high - low) * share
        for low, high in zip(ends[::2], ends[1::2], strict=True)
        for share in (0.02, 0.6)
    ]
    x = torch.tensor(places, dtype=torch.float64)
    wanted = torch.from_numpy(density(scales, weights, c, np.array(places)))
    torch.testing.assert_close(grown.pdf(x), wanted / c, rtol=1e-8, atol=0)
    below = torch.tensor([zeros + level(scales, weights, c, at) for at in places], dtype=torch.float64)
    torch.testing.assert_close(grown.cdf(x), 1 - (1 - below) / c, rtol=0, atol=1e-8)
    torch.testing.assert_close(grown.ppf(grown.cdf(x)), x, rtol=1e-4, atol=0)


def test_the_density_to_30_digits() -> None:
    scales, weights, c = *SCALES[2], 0.5
    x = torch.tensor([0.1, 0.5, 2.0, 20.0, 40.0], dtype=torch.float64)
    wanted = []
    with mpmath.workdps(30):
        for at in x.tolist():
            m = max(roots(scales, weights, c, np.array([at]))[0], key=lambda root: float(root.imag))

            def equation(m: mpmath.mpc, at: float = at) -> mpmath.mpc:
                terms = (mpmath.mpf(w) * h / (1 + h * m) for h, w in zip(scales, weights, strict=True))
                return -1 / m + mpmath.mpf(c) * mpmath.fsum(terms) - at

            root = mpmath.findroot(equation, complex(m))
            wanted.append(float(root.imag / mpmath.pi) / c)
    torch.testing.assert_close(
        law(scales, weights, c).pdf(x), torch.tensor(wanted, dtype=torch.float64), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("ratio", [0.02, 0.5, 1.0, 3.0])
def test_rows_of_one_scale_are_marchenko_pastur(ratio: float) -> None:
    ours, known = law((2.0,), (1.0,), ratio), laws.marchenko_pastur(ratio, 2.0)
    low, high = known.edges
    x = low + (high - low) * torch.linspace(0.01, 0.99, 41, dtype=torch.float64)
    torch.testing.assert_close(ours.pdf(x), known.pdf(x), rtol=1e-10, atol=0)
    torch.testing.assert_close(ours.cdf(x), known.cdf(x), rtol=0, atol=1e-6)
    assert ours.zeros == pytest.approx(sum(mass for _, mass in known.atoms), abs=1e-12)
    assert float(ours.cdf(torch.tensor([0.0]).double())) == pytest.approx(ours.zeros, abs=1e-9)
    assert float(ours.quantiles(4000).mean()) == pytest.approx(2.0, rel=1e-3)


def test_growth_is_the_free_power_of_the_companion() -> None:
    ours = law(*SCALES[1])
    exact = ours.companion_levy()
    for factor in (2.0, 16.0):
        # dilated by the power, then compressed by it: what companion_power does to a sample
        dilated = LevyMeasure(
            left=exact.left * factor,
            right=exact.right * factor,
            mass=exact.mass * factor**2,
            mean=exact.mean * factor,
        )
        power, grown = evolve(dilated, 1 / factor), ours.decompress(factor)
        x = grown.companion.x[100:-100:50]
        torch.testing.assert_close(power.pdf(x), grown.companion.pdf(x), rtol=1e-7, atol=1e-12)
        torch.testing.assert_close(power.cdf(x), grown.companion.cdf(x), rtol=0, atol=1e-9)
        sample = companion_power(ours.companion.quantiles(800), factor)
        levels = torch.linspace(max(0.0, 1 - RATIO * factor) + 0.01, 0.99, 99, dtype=torch.float64)
        assert float((sample.cdf(grown.companion.ppf(levels)) - levels).abs().max()) < 2e-3
        guess = deformed_quantiles(ours.quantiles(100), 800, factor, 1000)
        assert ks_distance(guess, grown.quantiles(1000)) < 4e-3


def test_samples_have_the_law() -> None:
    ours = law(*SCALES[2], 0.5)
    sample = torch.linalg.eigvalsh(ours.sample_matrix(500, torch.Generator().manual_seed(0)))
    assert ks_distance(ours.quantiles(500), sample) < 0.012
    zeros = law((0.0, 1.0), (0.25, 0.75), 2.0)
    assert zeros.zeros == pytest.approx(0.5)
    assert law((0.0, 1.0), (0.75, 0.25), 2.0).zeros == pytest.approx(0.75)
    matrix = zeros.sample_matrix(200, torch.Generator().manual_seed(0))
    eigenvalues = torch.linalg.eigvalsh(matrix)
    eigenvalues = torch.where(eigenvalues.abs() < 1e-9, 0.0, eigenvalues)
    assert int((eigenvalues == 0).sum()) == 100
    assert ks_distance(zeros.quantiles(200), eigenvalues) < 0.02


def test_the_scales_of_all_rows_predict_the_whole_and_those_of_a_block_only_what_they_are() -> None:
    rng = np.random.default_rng(0)
    scales = np.exp(rng.standard_normal(500))
    weights = rng.standard_normal((500, 1000)) * np.sqrt(scales)[:, None]
    truth = torch.linalg.eigvalsh(torch.from_numpy(weights @ weights.T / 1000))
    h = torch.from_numpy(scales)
    everything = RowScaledLaw(h, torch.ones_like(h), 0.5)
    block = RowScaledLaw(h[:125], torch.ones_like(h[:125]), 0.125).decompress(4.0)
    known, partly = (ks_distance(one.quantiles(500), truth) for one in (everything, block))
    assert known < 0.01
    assert partly > 2 * known


def test_refuses_what_is_no_law() -> None:
    for scales, weights, ratio in (
        ((1.0, 2.0), (1.0,), 1.0),
        ((-1.0,), (1.0,), 1.0),
        ((0.0,), (1.0,), 1.0),
        ((1.0,), (1.0,), 0.0),
    ):
        with pytest.raises(ValueError, match=r"weight|negative|positive"):
            law(scales, weights, ratio)
