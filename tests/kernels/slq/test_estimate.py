"""Stochastic Lanczos quadrature: brackets hold, intervals cover, what is no log-determinant is refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spectra import SIZE, basis, spectra, symmetric

from rmtaudit.kernels import slq
from rmtaudit.kernels.slq import integrands

QUICK = slq.Effort(steps=24)
FUNCTIONS = [
    integrands.LOG,
    integrands.INVERSE,
    integrands.IDENTITY,
    integrands.power(0.5),
    integrands.power(1.5),
    integrands.power(-0.5),
    integrands.power(3),
    integrands.exponential(1.0),
    integrands.exponential(-3.0),
]


def forms(
    eigenvalues: torch.Tensor,
    vectors: torch.Tensor,
    f: integrands.Integrand,
    sampler: slq.Sampler,
    probes: int,
) -> torch.Tensor:
    """Return n uᵀ f(A) u of the probes, by the eigenvectors."""
    unit = sampler.unit(range(probes), len(eigenvalues))
    return len(eigenvalues) * ((unit @ vectors) ** 2 * f.value(eigenvalues)).sum(dim=1)


@pytest.mark.parametrize("name", list(spectra()))
@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.name)
def test_every_bracket_holds_the_quadratic_form(name: str, f: integrands.Integrand) -> None:
    eigenvalues, vectors = spectra()[name], basis()
    operator = slq.dense(symmetric(eigenvalues, vectors), smallest=0.9 * float(eigenvalues[0]), largest=1.01)
    sampler = slq.Sampler(3)
    found = slq.trace(operator, f, sampler, QUICK)
    for (low, high), form in zip(found.samples, forms(eigenvalues, vectors, f, sampler, 16), strict=True):
        assert low <= form <= high
    assert found.bracket[0] <= found.value <= found.bracket[1]
    assert found.interval[0] <= found.bracket[0]
    assert found.bracket[1] <= found.interval[1]
    assert found.edge_source == "given"


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=30),
    st.integers(1, 12),
    st.integers(0, 2**62),
)
def test_brackets_of_any_spectrum(values: list[float], steps: int, seed: int) -> None:
    eigenvalues = torch.tensor(sorted(values), dtype=torch.float64)
    vectors = basis(len(values), 1)
    operator = slq.dense(symmetric(eigenvalues, vectors), smallest=0.5 * float(eigenvalues[0]))
    sampler = slq.Sampler(seed)
    found = slq.log_determinant(operator, sampler, slq.Effort(probes=4, steps=steps))
    # the matrix itself is rounded when it is made: its eigenvalues move by eps λ_max
    slack = len(values) * 1e-14 * float(eigenvalues[-1] / eigenvalues[0])
    for (low, high), form in zip(
        found.samples, forms(eigenvalues, vectors, integrands.LOG, sampler, 4), strict=True
    ):
        assert low - slack <= form <= high + slack


def test_a_bound_found_by_lanczos_itself() -> None:
    eigenvalues, vectors = spectra()["uniform"], basis()
    found = slq.log_determinant(
        slq.dense(symmetric(eigenvalues, vectors)), slq.Sampler(0), slq.Effort(steps=40)
    )
    assert found.edge_source == "converged"
    assert found.edge is not None
    assert 0.09 < found.edge <= 0.1
    form = float(forms(eigenvalues, vectors, integrands.LOG, slq.Sampler(0), 16).mean())
    assert found.bracket[0] <= form <= found.bracket[1]
    assert found.bracket[1] - found.bracket[0] < 1e-3


def test_no_bound_is_said_and_not_guessed() -> None:
    matrix = symmetric(spectra()["geometric 1e8"], basis())
    found = slq.log_determinant(slq.dense(matrix), slq.Sampler(0), slq.Effort(steps=20))
    assert found.edge_source == "none"
    assert found.bracket[0] == found.interval[0] == -math.inf
    assert math.isfinite(found.bracket[1])
    assert "lower bound" in found.reason


def test_the_interval_covers_at_its_level() -> None:
    eigenvalues, vectors = spectra()["uniform"], basis()
    operator, truth = (
        slq.dense(symmetric(eigenvalues, vectors), smallest=0.09),
        float(eigenvalues.log().sum()),
    )
    effort = slq.Effort(probes=8, steps=12, level=0.8)
    runs = [slq.log_determinant(operator, slq.Sampler(seed), effort).interval for seed in range(200)]
    covered = sum(low <= truth <= high for low, high in runs)
    # 3.5 standard deviations of a binomial
    assert abs(covered - 160) <= 3.5 * math.sqrt(200 * 0.8 * 0.2)


def test_a_tolerance_is_met_in_two_stages() -> None:
    operator = slq.dense(symmetric(spectra()["uniform"], basis()), smallest=0.09)
    effort = slq.Effort(probes=8, steps=20, tolerance=2.0)
    found = slq.log_determinant(operator, slq.Sampler(1), effort)
    assert found.probes > 8
    assert (found.interval[1] - found.interval[0]) / 2 == pytest.approx(2.0, rel=0.05)


def test_probes_do_not_depend_on_how_many_there_are_or_on_threads() -> None:
    operator = slq.dense(symmetric(spectra()["uniform"], basis()), smallest=0.09)
    few = slq.trace(operator, integrands.LOG, slq.Sampler(5), slq.Effort(probes=16, steps=12))
    many = slq.trace(operator, integrands.LOG, slq.Sampler(5), slq.Effort(probes=40, steps=12))
    assert many.samples[:16] == few.samples
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        again = slq.trace(operator, integrands.LOG, slq.Sampler(5), slq.Effort(probes=16, steps=12))
    finally:
        torch.set_num_threads(before)
    assert again == few


def test_what_is_not_positive_definite_is_refused() -> None:
    eigenvalues, vectors = spectra()["uniform"].clone(), basis()
    indefinite = symmetric(eigenvalues - 0.5, vectors)
    singular = symmetric(torch.where(eigenvalues < 0.5, 0.0, eigenvalues), vectors)
    for matrix, reason in (
        (indefinite, "not positive definite"),
        (singular, "singular"),
        (torch.zeros(8, 8, dtype=torch.float64), "singular"),
        (indefinite * math.nan, "not finite"),
        (indefinite + 0.1 * vectors, "not symmetric"),
    ):
        with pytest.raises(ArithmeticError, match=reason):
            slq.log_determinant(slq.dense(matrix), slq.Sampler(0))
    with pytest.raises(ArithmeticError, match="not a bound"):
        slq.log_determinant(slq.dense(symmetric(eigenvalues, vectors), smallest=0.5), slq.Sampler(0))
    with pytest.raises(ValueError, match="square"):
        slq.dense(torch.zeros(2, 3))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_tiny_matrices(size: int) -> None:
    found = slq.log_determinant(slq.dense(3 * torch.eye(size, dtype=torch.float64)), slq.Sampler(0))
    assert found.value == pytest.approx(size * math.log(3), abs=1e-12)
    assert found.bracket[0] <= size * math.log(3) <= found.bracket[1]


@pytest.mark.parametrize("threshold", [1e-9, 1e-3, 0.3, 2.0])
@pytest.mark.parametrize("name", list(spectra()))
def test_counts_are_bracketed(name: str, threshold: float) -> None:
    eigenvalues, vectors = spectra()[name], basis()
    sampler = slq.Sampler(2)
    below = integrands.custom("count", lambda x: (x <= threshold).double(), torch.zeros_like)
    found = slq.count(slq.dense(symmetric(eigenvalues, vectors)), threshold, sampler, QUICK)
    for (low, high), form in zip(found.samples, forms(eigenvalues, vectors, below, sampler, 16), strict=True):
        assert low - 1e-9 <= form <= high + 1e-9


def test_a_count_in_a_gap_is_sharp() -> None:
    matrix = symmetric(spectra()["clusters 1e8"], basis())
    found = slq.count(slq.dense(matrix), 0.5, slq.Sampler(2), QUICK)
    assert found.bracket[1] - found.bracket[0] < 1e-6
    assert found.interval[0] <= SIZE / 2 <= found.interval[1]


def test_a_function_without_known_signs_has_no_bracket() -> None:
    matrix = symmetric(spectra()["uniform"], basis())
    found = slq.trace(
        slq.dense(matrix), integrands.custom("sin", torch.sin, torch.cos), slq.Sampler(0), QUICK
    )
    assert found.bracket == (-math.inf, math.inf)
    assert "signs" in found.reason
    truth = forms(
        spectra()["uniform"], basis(), integrands.custom("", torch.sin, torch.cos), slq.Sampler(0), 16
    )
    assert found.value == pytest.approx(float(truth.mean()), rel=1e-12)


def test_steps_that_did_not_suffice_are_said() -> None:
    eigenvalues = spectra()["geometric 1e4"]
    operator = slq.dense(symmetric(eigenvalues, basis()), smallest=0.9 * float(eigenvalues[0]))
    short = slq.log_determinant(operator, slq.Sampler(0), slq.Effort(steps=12))
    assert not short.narrow
    enough = slq.log_determinant(operator, slq.Sampler(0), slq.Effort(steps=SIZE))
    assert enough.narrow
    assert enough.bracket[1] - enough.bracket[0] <= 0.1 * enough.standard_error
    # more probes ask for more steps: the standard error is smaller
    many = slq.log_determinant(
        operator, slq.Sampler(0), slq.Effort(probes=8, steps=SIZE, tolerance=4.0, share=0.5)
    )
    assert many.probes > 8
    assert many.narrow
    one_sided = slq.log_determinant(
        slq.dense(operator.matmul(torch.eye(SIZE).double())), slq.Sampler(0), QUICK
    )
    assert not one_sided.narrow
