"""The distribution of eigenvalues by products: its bounds are bounds, and they hold as often as they say."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.lanczos import AsymmetryError, start
from rmtaudit.kernels.operators import Symmetric, dense, gram
from rmtaudit.kernels.slq.distribution import (
    Distribution,
    brackets,
    christoffel,
    distribution,
    shares_between,
)
from rmtaudit.kernels.slq.quadrature import with_last
from rmtaudit.kernels.slq.samplers import Sampler

LEVELS = torch.arange(1, 10).double() / 10


def diagonal(values: torch.Tensor) -> Symmetric:
    return Symmetric(size=len(values), matmul=lambda X: values[:, None] * X)


def spectrum(kind: str, n: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(n, generator=generator, dtype=torch.float64)
    match kind:
        case "uniform":
            pass
        case "atoms":
            values = (3 * values).round()
        case "decades":
            values = 10 ** (-8 * values)
        case "outlier":
            values[0] = 1e3
        case "gap":
            values = torch.where(values < 0.3, values - 5, values)
        case "half at one place":
            values[: n // 2] = 0.5
    return values.sort().values


KINDS = ["uniform", "atoms", "decades", "outlier", "gap", "half at one place"]


@given(
    kind=st.sampled_from(KINDS),
    n=st.integers(1, 60),
    steps=st.integers(2, 30),
    seed=st.integers(0, 10_000),
    where=st.floats(-0.2, 1.2),
)
@settings(max_examples=80, deadline=None)
def test_the_measure_of_every_probe_is_between_its_bounds(
    kind: str, n: int, steps: int, seed: int, where: float
) -> None:
    """Of a diagonal matrix that measure is known: the squares of the probe's own entries."""
    values = spectrum(kind, n, seed)
    probes = Sampler(seed, "sphere").unit(range(4), n)
    jacobi = start(diagonal(values), probes).extend(steps)
    points = torch.tensor([where, 0.5, 1.0, -4.8, float(values[n // 2])], dtype=torch.float64).unique()
    lower, upper = brackets(jacobi, points)
    rounding = 1e-9 * float(values.abs().max())
    below = torch.stack([(probes**2 * (values <= x - rounding)).sum(1) for x in points], 1)
    at_most = torch.stack([(probes**2 * (values <= x + rounding)).sum(1) for x in points], 1)
    assert bool((lower <= at_most + 1e-9).all())
    assert bool((upper >= below - 1e-9).all())


def test_christoffel_numbers_are_weights_of_the_rule_with_that_node() -> None:
    values = spectrum("uniform", 40, 1)
    jacobi = start(diagonal(values), Sampler(1, "sphere").unit(range(3), 40)).extend(8)
    point = 1.3
    pivot = jacobi.diagonal[:, 0] - point
    for k in range(1, 8):
        pivot = jacobi.diagonal[:, k] - point - jacobi.off[:, k - 1] ** 2 / pivot
    rule = with_last(jacobi, point + jacobi.next**2 / pivot)
    assert torch.allclose(rule.nodes[:, -1], torch.full((3,), point, dtype=torch.float64))
    assert torch.allclose(christoffel(jacobi, point), rule.weights[:, -1], rtol=1e-8)
    # far away it is tiny, and no overflow is in its way
    assert 0 <= float(christoffel(jacobi, 1e40).max()) < 1e-300


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_shares_are_bounded_as_often_as_said(share: float) -> None:
    """The mean weight of uniform probes themselves, 2000 times; a share of 0 or 1 is certain."""
    n, probes, draws = 50, 8, 2000
    generator = torch.Generator().manual_seed(3)
    squares = torch.randn(draws, probes, n, generator=generator, dtype=torch.float64) ** 2
    taken = round(share * n)
    weight = (squares[:, :, :taken].sum(2) / squares.sum(2)).mean(1)
    low, high = shares_between(weight, weight, n, probes, 0.05)
    held = float(((low <= share) & (share <= high)).double().mean())
    assert held >= 0.88
    assert share in (0.0, 1.0) or held <= 0.97  # shares are multiples of 1/50: bounds reach the next


def found(values: torch.Tensor, seed: int, **more: int) -> Distribution:
    return distribution(diagonal(values), seed, steps=14, probes=6, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_bands_hold(kind: str) -> None:
    """Nine deciles and two ends of four spectra each: bounds of 90 % hold at least as often."""
    held = asked = 0
    for seed in range(4):
        values = spectrum(kind, 120, seed)
        one = found(values, seed + 500)
        low, high = one.quantile_band(LEVELS)
        true = values[(LEVELS * 120).ceil().long() - 1]
        slack = 1e-8 * float(values.abs().max())
        held += int(((low - slack <= true) & (true <= high + slack)).sum())
        bottom, top = one.edges()
        held += int(bottom[0] - slack <= float(values[0]) <= bottom[1] + slack)
        held += int(top[0] - slack <= float(values[-1]) <= top[1] + slack)
        asked += 11
    assert held >= 0.9 * asked


def test_atoms_have_places_and_bounds() -> None:
    """Bounds of 90 %: fewer than 9 of 12 hold once in 260 times."""
    values = torch.cat([torch.zeros(36), torch.ones(24), torch.linspace(2, 3, 60)]).double()
    held = 0
    for seed in range(6):
        atoms = found(values, seed).atoms()
        assert [round(one.place, 6) for one in atoms] == [0.0, 1.0]
        held += (atoms[0].low <= 0.3 <= atoms[0].high) + (atoms[1].low <= 0.2 <= atoms[1].high)
    assert held >= 9
    quantiles = found(values, 1).quantiles(torch.tensor([0.1, 0.4], dtype=torch.float64))
    assert quantiles.tolist() == [0.0, pytest.approx(1.0)]


def test_exhausted_probes_are_exact() -> None:
    one = found(torch.full((30,), 2.0).double(), 1)
    assert [end for side in one.edges() for end in side] == pytest.approx([2.0] * 4, abs=1e-12)
    (atom,) = one.atoms()
    assert (atom.place, atom.low, atom.high) == pytest.approx((2.0, 1.0, 1.0), abs=1e-12)


def test_zeros_of_the_larger_gram_matrix_are_known() -> None:
    noise = torch.randn(30, 90, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    one = distribution(gram(noise, "cols"), 1, steps=30, probes=4)
    assert one.zeros == 60
    assert one.atoms()[0] == one.atoms()[0].__class__(0.0, 0.0, 2 / 3, 2 / 3)
    assert one.quantiles(torch.tensor([0.3], dtype=torch.float64)) == 0
    low, high = one.band()
    assert float(low.min()) >= 2 / 3 - 1e-12
    assert [float(bound) for bound in one.quantile_band(torch.tensor([0.3]).double())] == [0.0, 0.0]
    assert bool((low <= high).all())


def test_batches_do_not_change_the_answer() -> None:
    values = spectrum("uniform", 50, 4)
    one, other = found(values, 3), found(values, 3, batch=3)
    assert torch.equal(one.lower, other.lower)
    assert torch.equal(one.points, other.points)


def test_asymmetry_is_an_error_of_its_own() -> None:
    matrix = torch.eye(40, dtype=torch.float64)
    matrix[3, 7] = 1e-3
    with pytest.raises(AsymmetryError) as caught:
        distribution(dense(matrix), 0, steps=5, probes=4)
    assert caught.value.skew > 0
    with pytest.raises(ValueError, match="2 probes"):
        distribution(dense(matrix), 0, probes=1)


def test_an_excluded_end_is_never_nearer_than_the_ritz_value() -> None:
    one = found(spectrum("decades", 100, 2), 2)
    (low, lowest), (highest, high) = one.edges()
    assert low <= lowest < highest <= high < math.inf
