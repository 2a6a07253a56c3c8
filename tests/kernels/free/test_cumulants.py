"""Free cumulants: identities, and the laws made of a few of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.free import laws
from rmtaudit.kernels.free.cumulants import cumulant_laws, evolved_cumulants, free_cumulants, moments_of
from rmtaudit.kernels.free.evolution import evolve


@settings(deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=7))
def test_moments_and_cumulants_invert_each_other(values: list[float]) -> None:
    cumulants = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(free_cumulants(moments_of(cumulants)), cumulants, rtol=1e-7, atol=1e-6)


def test_the_semicircle_has_catalan_moments_and_one_cumulant() -> None:
    moments = torch.tensor([0.0, 1, 0, 2, 0, 5, 0, 14], dtype=torch.float64)
    expected = torch.zeros(8, dtype=torch.float64)
    expected[1] = 1
    torch.testing.assert_close(free_cumulants(moments), expected)


@settings(deadline=None)
@given(st.floats(0.1, 3), st.floats(0.2, 8))
def test_the_cumulants_of_marchenko_pastur_are_powers_of_its_ratio(ratio: float, factor: float) -> None:
    powers = torch.arange(5, dtype=torch.float64)
    before = torch.tensor(ratio, dtype=torch.float64) ** powers
    after = torch.tensor(ratio * factor, dtype=torch.float64) ** powers
    torch.testing.assert_close(evolved_cumulants(before, factor), after)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_the_moments_of_an_evolved_law_are_those_of_its_cumulants(factor: float) -> None:
    measure = laws.free_levy(0.5, 1.0, 0.5, 1.5)
    own = torch.tensor([measure.mean] + [measure.moment(order) for order in range(4)], dtype=torch.float64)
    values = evolve(measure, factor).quantiles(100_000)
    found = torch.stack([(values**order).mean() for order in range(1, 6)])
    torch.testing.assert_close(found, moments_of(evolved_cumulants(own, factor)), rtol=1e-4, atol=1e-5)


def test_simple_laws_keep_the_cumulants_they_are_made_of() -> None:
    generator = torch.Generator().manual_seed(0)
    eigenvalues = torch.randn(500, generator=generator, dtype=torch.float64) ** 2
    powers = torch.arange(1, 5, dtype=torch.float64)
    wanted = free_cumulants((eigenvalues[:, None] ** powers).mean(0))
    found = cumulant_laws(eigenvalues)
    assert set(found) >= {2, 3}
    for order in (2, 3):
        measure = found[order]
        own = [measure.mean, measure.moment(0), measure.moment(1)][:order]
        torch.testing.assert_close(torch.tensor(own, dtype=torch.float64), wanted[:order])


def test_four_cumulants_give_a_meixner_law_back() -> None:
    law = laws.meixner(1.0, 0.5, 2.0, 0.3)
    values = evolve(law.levy(), 1.0).quantiles(50_000)
    found = cumulant_laws(values)[4]
    assert found.index == pytest.approx(law.levy().index, rel=1e-2)
    assert found.variance == pytest.approx(law.levy().variance, rel=1e-3)


def test_a_quadratic_law_scales_its_cumulants() -> None:
    law = laws.wachter(2.0, 3.0)
    powers = torch.arange(1, 7, dtype=torch.float64)
    before = evolve(law.levy(), 1.0).quantiles(200_000)
    after = evolve(law.decompress(3.0).levy(), 1.0).quantiles(200_000)
    k0, k1 = (free_cumulants((values[:, None] ** powers).mean(0)) for values in (before, after))
    torch.testing.assert_close(k1, evolved_cumulants(k0, 3.0), rtol=1e-3, atol=1e-4)
