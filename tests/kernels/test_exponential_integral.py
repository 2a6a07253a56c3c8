"""The generalised exponential integral against identities, quadrature and its integer orders."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special

from rmtaudit.kernels.exponential_integral import scaled_exponential_integral

ORDERS = st.one_of(st.floats(0.6, 60), st.floats(900, 1100), st.floats(1e3, 1e7))
ARGUMENTS = st.floats(-6, 2.5).map(lambda exponent: 10.0**exponent)


@given(st.integers(1, 40), ARGUMENTS)
def test_whole_orders_are_scipys(order: int, x: float) -> None:
    expected = float(special.expn(order, x)) * math.exp(x)
    assert scaled_exponential_integral(order, x) == pytest.approx(expected, rel=1e-12)


@given(ORDERS, ARGUMENTS)
@settings(deadline=None)
def test_the_recurrence(order: float, x: float) -> None:
    """``p E_(p+1) = exp(-x) - x E_p``, free of cancellation as a sum."""
    one, two = (scaled_exponential_integral(p, x) for p in (order, order + 1))
    assert order * two + x * one == pytest.approx(1, rel=1e-12)


@given(st.floats(1.0, 30), st.sampled_from([0.01, 0.3, 1.4, 1.6, 8.0]))
@settings(max_examples=40, deadline=None)
def test_the_definition(order: float, x: float) -> None:
    expected, _ = integrate.quad(lambda u: math.exp(-x * (1 / u - 1)) * u ** (order - 2), 0, 1, epsabs=1e-13)
    assert scaled_exponential_integral(order, x) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("x", [1e-3, 0.2, 1.4, 3.0])
def test_nothing_happens_next_to_a_whole_order(x: float) -> None:
    """The derivative in the order is that of the integral; orders 1e-9 apart must not differ by noise."""
    middle = scaled_exponential_integral(1.0, x)
    for nearby in (1 - 1e-9, 1 + 1e-9):
        assert scaled_exponential_integral(nearby, x) == pytest.approx(middle, rel=1e-8)
    slope = scaled_exponential_integral(1 + 1e-7, x) - scaled_exponential_integral(1 - 1e-7, x)
    exact, _ = integrate.quad(lambda u: -math.exp(-x * (1 / u - 1)) * -math.log(u) / u, 0, 1, epsabs=1e-13)
    assert slope / 2e-7 == pytest.approx(exact, rel=1e-5)
