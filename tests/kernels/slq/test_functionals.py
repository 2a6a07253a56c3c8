"""Numbers of a spectrum: exact ones from eigenvalues, bounds that hold from products."""

from __future__ import annotations

import math

import pytest
import torch

from rmtaudit.kernels.operators import Symmetric, gram
from rmtaudit.kernels.slq.distribution import distribution
from rmtaudit.kernels.slq.functionals import (
    effective_dimension,
    of_eigenvalues,
    of_products,
    shifted_log_determinant,
    snapped,
)


def test_known_numbers_of_four_eigenvalues() -> None:
    found = of_eigenvalues(torch.tensor([1.0, 1.0, 2.0, 4.0]).double())
    assert found["mean"].value == 2.0
    assert found["standard_deviation"].value == pytest.approx(math.sqrt(1.5))
    assert found["skewness"].value == pytest.approx(1.5 / 1.5**1.5)
    assert found["log_det"].value == pytest.approx(math.log(8) / 4)
    assert (found["condition"].value, found["atom"].value) == (4.0, 0.5)
    shares = torch.tensor([1.0, 1.0, 2.0, 4.0]).double() / 8
    assert found["effective_rank"].value == pytest.approx(math.exp(torch.special.entr(shares).sum()) / 4)
    assert all(one.low == one.value == one.high for one in found.values())


@pytest.mark.parametrize(
    ("values", "missing"),
    [([-1.0, 2.0], "not known to be positive"), ([0.0, 2.0], "may be singular"), ([0.0, 0.0], "singular")],
)
def test_what_has_no_number_has_a_reason(values: list[float], missing: str) -> None:
    found = of_eigenvalues(torch.tensor(values).double())
    assert found["log_det"].value is None
    assert missing in found["log_det"].reason


def test_rounding_is_taken_out() -> None:
    values = torch.tensor([-3e-16, 2e-16, 1.0 - 2e-16, 1.0, 1.0 + 2e-16, 2.0]).double()
    found = snapped(values)
    assert found[:2].tolist() == [0.0, 0.0]
    assert len(found[2:5].unique()) == 1
    assert float(found[5]) == 2.0


def test_bounds_from_products_hold() -> None:
    """Eight numbers and two ridge ones of a Wishart matrix, five times: 90 % bounds."""
    generator = torch.Generator().manual_seed(7)
    held = asked = 0
    for seed in range(5):
        rows = torch.randn(60, 150, generator=generator, dtype=torch.float64) / 150**0.5
        values = torch.linalg.eigvalsh(rows @ rows.T)
        found = distribution(gram(rows), seed, steps=14, probes=6)
        numbers = of_products(found, semidefinite=True)
        true = of_eigenvalues(values)
        pairs = [(numbers[name], true[name].value) for name in numbers if name != "atom"]
        pairs.append((shifted_log_determinant(found, 0.3, 0.0), float((values + 0.3).log().mean())))
        pairs.append((effective_dimension(found, 0.3, 0.0), float((values / (values + 0.3)).mean())))
        for bounded, exact in pairs:
            assert exact is not None
            assert bounded.low is not None
            assert bounded.high is not None
            held += bounded.low - 1e-9 <= exact <= bounded.high + 1e-9
            asked += 1
    assert asked == 50
    assert held >= 0.83 * asked


def test_zeros_of_the_larger_side_count() -> None:
    rows = torch.randn(20, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = distribution(gram(rows, "cols"), 1, steps=20, probes=8)
    numbers = of_products(found, semidefinite=True)
    assert numbers["lower_edge"].value == 0.0
    assert numbers["log_det"].reason == "the matrix may be singular"
    exact = torch.linalg.eigvalsh(rows.T @ rows).clamp(min=0)
    ridge = shifted_log_determinant(found, 1.0, 0.0)
    assert ridge.low is not None
    assert ridge.high is not None
    assert ridge.low - 0.05 <= float((exact + 1).log().mean()) <= ridge.high + 0.05


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_scalar_matrix(value: float) -> None:
    found = distribution(Symmetric(size=10, matmul=lambda X: value * X), 0, probes=4)
    numbers = of_products(found, semidefinite=value > 0)
    assert numbers["mean"].value == pytest.approx(value)
    assert numbers["skewness"].reason == "all eigenvalues agree"
    log_det = shifted_log_determinant(found, 1.0, value)
    assert log_det.value == pytest.approx(math.log(value + 1), abs=1e-12)
