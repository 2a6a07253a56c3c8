"""The height of the boundary over a real point: the one root, to rounding, in few steps."""

from __future__ import annotations

from itertools import pairwise

import mpmath
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.free import heights as module
from rmtaudit.kernels.free import laws
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.heights import heights
from rmtaudit.kernels.free.measure import LevyMeasure, inverse_square

powers = st.floats(-6, 2)


def exact(measure: LevyMeasure, s: float, square: mpmath.mpf) -> mpmath.mpf:
    """Return ``∫G(dx)/((s-x)² + v²)`` to 40 digits."""
    total, v = mpmath.mpf(0), mpmath.sqrt(square)
    for left, right, mass in zip(
        measure.left.tolist(), measure.right.tolist(), measure.mass.tolist(), strict=True
    ):
        a, b = mpmath.mpf(left) - mpmath.mpf(s), mpmath.mpf(right) - mpmath.mpf(s)
        if left == right:
            total += mass / (a * a + square)
        else:
            total += mass * (mpmath.atan(b / v) - mpmath.atan(a / v)) / ((b - a) * v)
    return total


@st.composite
def measures(draw: st.DrawFn) -> LevyMeasure:
    count = draw(st.integers(1, 6))
    signs = draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=count + 1, max_size=count + 1))
    sizes = draw(st.lists(powers, min_size=count + 1, max_size=count + 1))
    edges = sorted(sign * 10**size for sign, size in zip(signs, sizes, strict=True))
    cells = list(pairwise(edges))
    atoms = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    masses = draw(st.lists(st.floats(-9, 3), min_size=count, max_size=count))
    left = torch.tensor([a for a, _ in cells], dtype=torch.float64)
    right = [a if atom else b for (a, b), atom in zip(cells, atoms, strict=True)]
    mass = torch.tensor([10**power for power in masses], dtype=torch.float64)
    return LevyMeasure(left=left, right=torch.tensor(right, dtype=torch.float64), mass=mass, mean=0.0)


@settings(max_examples=60)
@given(
    measures(), st.floats(-5, 5), st.lists(st.tuples(st.sampled_from([-1, 1]), powers), max_size=3), powers
)
@example(laws.marchenko_pastur(0.02).levy(), 0.0, [], -6.0)
def test_the_height_is_the_root_to_rounding(
    measure: LevyMeasure, growth: float, places: list[tuple[int, float]], guess: float
) -> None:
    factor = 10.0**growth
    s = torch.tensor(
        [sign * 10**power for sign, power in places]
        + ((measure.left + measure.right) / 2).tolist()
        + (measure.left * (1 - 1e-9)).tolist()
        + (measure.right * (1 + 1e-9)).tolist(),
        dtype=torch.float64,
    )
    for start in (None, torch.full_like(s, 10**guess)):
        found = heights(measure, s, factor, start)
        torch.testing.assert_close(found > 0, inverse_square(measure, s) > factor)
        with mpmath.workdps(40):
            for at, v in zip(s.tolist(), found.tolist(), strict=True):
                if v > 0:
                    square = mpmath.mpf(v) ** 2
                    # the integral falls: it is on both sides of the factor, within its own rounding
                    above = exact(measure, at, square * (1 - mpmath.mpf(1e-11)))
                    below = exact(measure, at, square * (1 + mpmath.mpf(1e-11)))
                    assert below * (1 - 1e-13) <= factor <= above * (1 + 1e-13)


@pytest.mark.parametrize(
    ("measure", "factor"),
    [
        (laws.semicircle(0.3, 2.0).levy(), 8.0),
        (laws.marchenko_pastur(0.02).levy(), 100.0),
        (laws.free_levy(0.5, 1.0, 0.5, 2.0), 8.0),
        (laws.compound_free_poisson(0.8, torch.tensor([1e-6, 1e-3, 1.0, 1e3]), torch.ones(4) / 4), 8.0),
        (laws.wachter(3.0, 4.0).levy(), 2.0),
        (
            LevyMeasure(
                left=torch.logspace(-6, 0, 161, dtype=torch.float64)[:-1],
                right=torch.logspace(-6, 0, 161, dtype=torch.float64)[1:],
                mass=torch.logspace(-9, 0, 160, dtype=torch.float64),
                mean=1.0,
            ),
            8.0,
        ),
    ],
)
def test_few_steps_find_every_height(
    measure: LevyMeasure, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    evaluate = module._inverse_square_above

    def counted(
        measure: LevyMeasure, s: torch.Tensor, square: torch.Tensor, thin: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        steps.append(len(s))
        return evaluate(measure, s, square, thin)

    monkeypatch.setattr(module, "_inverse_square_above", counted)
    law = evolve(measure, factor)
    assert len(steps) <= 15  # two searches, the first without a guess
    assert sum(steps) <= 8 * len(law.s)


def test_the_distribution_is_right_at_the_points_of_its_own_curve() -> None:
    law = evolve(laws.free_levy(0.5, 1.0, 0.5, 2.0), 8.0, 500)
    among = torch.cat([law.x[60:400], law.ppf(torch.linspace(0.01, 0.99, 99, dtype=torch.float64))])
    s, v = law._parameter(among)
    real = (
        law.measure.mass
        * (s[:, None] - law.measure.left)
        / ((s[:, None] - law.measure.left) ** 2 + v[:, None] ** 2)
    ).sum(1)
    torch.testing.assert_close(8.0 * s + law.measure.mean + real, among, rtol=0, atol=1e-11)
