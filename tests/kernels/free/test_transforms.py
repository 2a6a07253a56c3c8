"""R- and Stieltjes transforms against closed forms, quadrature, and each other."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.free import laws, transforms
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.measure import LevyMeasure
from rmtaudit.kernels.free.transforms import r_transform, stieltjes

ORACLES = [
    (laws.semicircle(0.3, 2.0), (0.25, 1.0, 8.0)),
    (laws.marchenko_pastur(0.02), (0.5, 32.0, 50.0, 64.0)),
    (laws.marchenko_pastur(3.0), (0.2, 1.0, 3.0)),
    (laws.kesten_mckay(3.0), (0.3, 1.0, 2.9)),
    (laws.kesten_mckay(10.0), (0.5, 4.0, 9.5)),
    (laws.wachter(3.0, 4.0), (0.5, 2.0, 6.5)),
    (laws.wachter(0.7, 0.8), (0.6, 1.35)),
    (laws.meixner(1.2, 0.5, 0.3, 0.4), (0.5, 4.0)),
    (laws.meixner(1.0, 0.5, 0.0, -0.1), (0.5, 10.0)),
]


def poisson() -> LevyMeasure:
    jumps, weights = torch.tensor([0.25, 0.6875]), torch.tensor([0.75, 0.25])
    return laws.compound_free_poisson(0.8, jumps, weights)


def cells(index: float = 0.0) -> LevyMeasure:
    left = torch.tensor([-1.0, 0.0, 0.1, 4.0], dtype=torch.float64)
    right = torch.tensor([0.0, 0.1, 0.1, 6.0], dtype=torch.float64)
    return LevyMeasure(
        left=left,
        right=right,
        mass=torch.tensor([0.4, 1e-3, 0.2, 0.5], dtype=torch.float64),
        mean=0.3,
        index=index,
    )


def plane(
    low: float, high: float, heights: tuple[float, ...] = (1e-6, 1e-3, 0.1, 3.0), count: int = 19
) -> torch.Tensor:
    x = low + (high - low) * torch.linspace(-0.4, 1.4, count, dtype=torch.float64)
    y = torch.tensor(heights, dtype=torch.float64)
    return torch.complex(x.expand(len(y), -1), y[:, None].expand(-1, count))


def far(low: float, high: float) -> torch.Tensor:
    """Return points so far out that ``G`` of any law on ``[low, high]`` is one to one there."""
    angle = math.pi * torch.linspace(0.01, 0.99, 19, dtype=torch.float64)
    return torch.cat(
        [
            torch.polar(torch.full_like(angle, times * max(abs(low), abs(high))), angle)
            for times in (4.0, 40.0)
        ]
    )


def closed(law: laws.QuadraticLaw, z: torch.Tensor) -> torch.Tensor:
    """Return the root of ``Qm² + Pm + 1 = 0`` that is about ``-1/z`` far out: ``2/(-P - root)``."""
    linear = law.p0 + (1 + law.q2) * z
    low, high = law.edges
    root = (1 - law.q2) * torch.sqrt(z - low) * torch.sqrt(z - high)
    return -2 / (linear + root)


@pytest.mark.parametrize(("law", "factors"), ORACLES)
def test_the_transform_of_every_oracle(law: laws.QuadraticLaw, factors: tuple[float, ...]) -> None:
    for factor in factors:
        grown = law.decompress(factor)
        z = plane(*grown.edges)
        torch.testing.assert_close(stieltjes(law.levy(), z, factor), closed(grown, z), rtol=1e-10, atol=0)


@pytest.mark.parametrize(("law", "factors"), ORACLES)
def test_the_r_transform_of_every_oracle(law: laws.QuadraticLaw, factors: tuple[float, ...]) -> None:
    for factor in factors:
        grown = law.decompress(factor)
        # a law that ends at a factor need not have a G that is one to one
        z = plane(*grown.edges) if law.q2 >= 0 else far(*grown.edges)
        w = -closed(grown, z)
        torch.testing.assert_close(r_transform(law.levy(), w, factor) + 1 / w, z, rtol=1e-10, atol=1e-10)
        small = torch.tensor([0.0, 1e-12, 1e-3], dtype=torch.complex128)
        wanted = grown.levy().mean + small * law.levy().variance * factor
        torch.testing.assert_close(r_transform(law.levy(), small, factor)[:2], wanted[:2])


@pytest.mark.parametrize(
    "measure", [poisson(), laws.free_levy(0.5, 1.0, 0.5, 2.0), cells(), cells(-0.3), cells(0.2)]
)
@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_against_quadrature_of_the_density(measure: LevyMeasure, factor: float) -> None:
    law = evolve(measure, factor, 6000)
    z = plane(float(law.x[0]), float(law.x[-1]), (0.3, 2.0))
    middle = (law.x[1:] + law.x[:-1]) / 2
    mass = law.level.diff() - sum(
        (
            torch.where((law.x[:-1] < place) & (law.x[1:] >= place), weight, 0.0)
            for place, weight in law.atoms
        ),
        torch.zeros(len(law.x) - 1, dtype=torch.float64),
    )
    wanted = (mass / (middle - z[..., None])).sum(-1) + sum(
        weight / (place - z) for place, weight in law.atoms
    )
    torch.testing.assert_close(stieltjes(measure, z, factor), wanted, rtol=0, atol=2e-5 / 0.3)
    inside = law.density > 0.05 * law.density.max()
    x = law.x[inside][::50]
    near = stieltjes(measure, torch.complex(x, torch.full_like(x, 1e-11)), factor)
    torch.testing.assert_close(near.imag / math.pi, law.density[inside][::50], rtol=1e-6, atol=0)
    z = z if measure.index <= 0 else far(float(law.x[0]), float(law.x[-1]))
    w = -stieltjes(measure, z, factor)
    torch.testing.assert_close(r_transform(measure, w, factor) + 1 / w, z, rtol=1e-10, atol=1e-10)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.floats(-6, 3), st.booleans(), st.floats(-6, 2), st.floats(-4, 1)), min_size=1, max_size=5
    ),
    st.floats(-4, 0.99),
    st.floats(-2, 2),
    st.lists(st.tuples(st.floats(-30, 30), st.floats(-12, 3)), min_size=1, max_size=8),
)
@example([(0.0, True, -6.0, 0.0)], 0.0, 0.0, [(0.0, -12.0), (1.0, -300.0)])
def test_the_transform_is_that_of_a_probability(
    found: list[tuple[float, bool, float, float]],
    share: float,
    growth: float,
    points: list[tuple[float, float]],
) -> None:
    factor = 10.0**growth
    left = torch.tensor(sorted((1 if up else -1) * 10**size for size, up, _, _ in found), dtype=torch.float64)
    width = torch.tensor([10**power if power > -3 else 0.0 for *_, power in found], dtype=torch.float64)
    mass = torch.tensor([10**power for _, _, power, _ in found], dtype=torch.float64)
    measure = LevyMeasure(left=left, right=left + width, mass=mass, mean=0.7, index=share / factor)
    x, y = torch.tensor([x for x, _ in points]).double(), 10 ** torch.tensor([y for _, y in points]).double()
    z = torch.complex(x, y)
    m = stieltjes(measure, z, factor)
    assert bool((m.imag > 0).all())
    assert bool((m.abs() * y <= 1 + 1e-6).all())
    assert bool((-1 / m).imag.ge(y * (1 - 1e-6)).all())  # F lifts every point
    mirrored = LevyMeasure(
        left=-measure.right.flip(0),
        right=-measure.left.flip(0),
        mass=mass.flip(0),
        mean=-0.7,
        index=share / factor,
    )
    clear = y > 1e-3  # elsewhere the two differ as the rounding of z does
    torch.testing.assert_close(
        stieltjes(mirrored, -z.conj(), factor)[clear], -m.conj()[clear], rtol=1e-7, atol=0
    )


def test_the_nested_bisection_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    z = plane(-4.0, 10.0, (1e-8, 0.1), 7)
    newton = {
        (index, factor): stieltjes(cells(index), z, factor) for index in (0.0, 0.2) for factor in (0.5, 4.0)
    }
    monkeypatch.setattr(transforms, "_STEPS", 0)
    for (index, factor), wanted in newton.items():
        torch.testing.assert_close(stieltjes(cells(index), z, factor), wanted, rtol=1e-6, atol=0)


def test_an_atom_is_seen_from_close_by() -> None:
    z = torch.tensor([1e-9j, 1e-6j], dtype=torch.complex128)
    m = stieltjes(poisson(), z, 8.0)
    torch.testing.assert_close(
        (m * z.imag).imag, torch.full((2,), 0.9, dtype=torch.float64), rtol=1e-5, atol=0
    )


def test_refuses_what_has_no_transform() -> None:
    with pytest.raises(ValueError, match="above the real line"):
        stieltjes(poisson(), torch.tensor([1.0 + 0j]), 2.0)
    for transform in (stieltjes, r_transform):
        with pytest.raises(ValueError, match="no law of factor"):
            transform(laws.kesten_mckay(3.0).levy(), torch.tensor([1j]), 3.0)
    with pytest.raises(ArithmeticError, match="branch point"):
        r_transform(laws.kesten_mckay(10.0).levy(), torch.tensor([-3j]), 1.0)
