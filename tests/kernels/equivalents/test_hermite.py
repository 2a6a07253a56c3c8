from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import norm

from rmtaudit.linalg import equivalents

TABLE = {
    "relu": (0.398942, 0.5, 0.282095, 0.5),
    "gelu": (0.282095, 0.5, 0.299207, 0.425221),
    "silu": (0.206621, 0.5, 0.248085, 0.355776),
    "tanh": (0, 0.605706, 0, 0.394294),
    "erf": (0, 0.651470, 0, 0.464559),
    "sigmoid": (0.5, 0.206621, 0, 0.293379),
    "leaky_relu": (0.394953, 0.505, 0.279274, 0.500050),
    "softplus": (0.806059, 0.5, 0.146103, 0.921246),
    "relu2": (0.5, 0.797885, 0.707107, 1.5),
    "elu": (0.160521, 0.761578, 0.184964, 0.644945),
    "abs": (0.797885, 0, 0.564190, 1),
    "sign": (0, 0.797885, 0, 1),
    "sin": (0, 0.606531, 0, 0.432332),
    "cos": (0.606531, 0, -0.428882, 0.567668),
    "quick_gelu": (0.282331, 0.5, 0.293567, 0.421953),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name: str) -> None:
    coefficients = equivalents.hermite_coefficients(name)
    assert [*coefficients.values.tolist(), coefficients.second_moment] == pytest.approx(TABLE[name], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "share"), [("relu", 0.734), ("gelu", 0.723), ("silu", 0.799), ("tanh", 0.931)]
)
def test_linear_fractions(name: str, share: float) -> None:
    assert equivalents.hermite_coefficients(name).linear_fraction == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize("name", sorted(equivalents.ACTIVATIONS))
def test_the_moments_are_the_sums_of_the_coefficients(name: str) -> None:
    coefficients = equivalents.hermite_coefficients(name, order=60)
    squares = coefficients.values.square()
    assert float(squares.sum()) <= coefficients.second_moment + 1e-12
    assert float(squares.sum()) == pytest.approx(coefficients.second_moment, rel=0.1)
    if coefficients.derivative_moment is not None:
        k = torch.arange(61, dtype=torch.float64)
        assert float(k @ squares) <= coefficients.derivative_moment * (1 + 1e-9)
        assert float(k @ squares) == pytest.approx(coefficients.derivative_moment, rel=0.1)
    else:
        assert name == "sign"


@pytest.mark.parametrize("at", [0.0, 1e-4, 0.5013, -1.77, 3.0])
def test_kinks_and_jumps_anywhere(at: float) -> None:
    kink = equivalents.hermite_coefficients(lambda x: torch.relu(x - at))
    assert float(kink.values[1]) == pytest.approx(norm.sf(at), abs=1e-9)
    assert kink.derivative_moment == pytest.approx(norm.sf(at), abs=1e-5)
    jump = equivalents.hermite_coefficients(lambda x: (x > at).double())
    assert float(jump.values[0]) == pytest.approx(norm.sf(at), abs=1e-9)
    assert float(jump.values[1]) == pytest.approx(norm.pdf(at), abs=1e-9)
    assert jump.derivative_moment is None


def test_jumps_that_cancel_are_seen() -> None:
    inside = equivalents.hermite_coefficients(lambda x: x + 0 * x + (x.abs() < 1).double())
    assert inside.derivative_moment is None
    assert float(inside.values[0]) == pytest.approx(1 - 2 * norm.sf(1), abs=1e-9)


def test_known_derivatives() -> None:
    assert equivalents.hermite_coefficients("sin").derivative_moment == pytest.approx((1 + math.exp(-2)) / 2)
    assert equivalents.hermite_coefficients("relu2").derivative_moment == pytest.approx(2)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="'rleu' is not one of"):
        equivalents.hermite_coefficients("rleu")
    with pytest.raises(ValueError, match="constant"):
        equivalents.hermite_coefficients(torch.ones_like)
    with pytest.raises(ValueError, match="finite"):
        equivalents.hermite_coefficients(torch.log)
    with pytest.raises(ValueError, match="order"):
        equivalents.hermite_coefficients("relu", order=0)
