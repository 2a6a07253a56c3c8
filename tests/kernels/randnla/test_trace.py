"""Trace estimators: unbiased, exact where they must be, and their errors are those that are seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from decays import semidefinite, singular_values

from rmtaudit.kernels.randnla.trace import RandomTrace, hutch_plus_plus, hutchinson, xnystrace, xtrace

ALL = (hutchinson, hutch_plus_plus, xtrace, xnystrace)
Estimator = Callable[..., RandomTrace]


@pytest.mark.parametrize("estimate", ALL)
@pytest.mark.parametrize("decay", ["flat", "power 1", "power 2"])
def test_the_mean_is_the_trace_and_the_error_that_of_the_runs(estimate: Estimator, decay: str) -> None:
    values = singular_values(decay, 60)
    matrix = semidefinite(values)
    runs = [estimate(lambda X: matrix @ X, 60, 18, seed) for seed in range(60)]
    found = torch.tensor([run.value for run in runs], dtype=torch.float64)
    truth = float(values.sum())
    assert abs(float(found.mean()) - truth) <= 4 * float(found.std()) / 60**0.5
    errors = torch.tensor([run.standard_error for run in runs], dtype=torch.float64)
    seen = float(((found - truth) ** 2).mean().sqrt())
    # the jackknife's is too large on average, never too small
    assert 0.7 <= float((errors**2).mean().sqrt()) / seen <= (1.4 if "hutch" in estimate.__name__ else 3.5)
    assert all(run.products <= 18 for run in runs)
    covered = sum(run.interval(0.95)[0] <= truth <= run.interval(0.95)[1] for run in runs)
    # a few eigenvalues make Hutchinson's forms skewed: Student's interval of 18 of them is too short then
    level = 0.8 if estimate is hutchinson and decay == "power 2" else 0.95
    assert covered >= 60 * level - 3.5 * (60 * level * (1 - level)) ** 0.5


def test_leave_one_out_by_its_definition() -> None:
    """XTrace and XNysTrace against their definition, one probe left out at a time."""
    from rmtaudit.kernels.randnla import trace

    matrix = semidefinite(singular_values("power 1", 20))
    omega = trace._sphere(7, 5, 20)
    each, nystroms = [], []
    for i in range(5):
        others = torch.cat([omega[:, :i], omega[:, i + 1 :]], dim=1)
        Q = torch.linalg.qr(matrix @ others)[0]
        probe = omega[:, i] - Q @ (Q.T @ omega[:, i])
        probe = probe * (16**0.5 / torch.linalg.vector_norm(probe))
        each.append(float((Q.T @ matrix @ Q).trace() + probe @ matrix @ probe))
        Y = matrix @ others
        low = Y @ torch.linalg.solve(others.T @ Y, Y.T)
        P = torch.linalg.qr(others)[0]
        length = torch.linalg.vector_norm(omega[:, i] - P @ (P.T @ omega[:, i]))
        rest = omega[:, i] @ (matrix - low) @ omega[:, i]
        nystroms.append(float(low.trace() + 16 / length**2 * rest))
    assert xtrace(lambda X: matrix @ X, 20, 10, 7).value == pytest.approx(sum(each) / 5, rel=1e-10)
    assert xnystrace(lambda X: matrix @ X, 20, 5, 7).value == pytest.approx(sum(nystroms) / 5, rel=1e-8)


@pytest.mark.parametrize("estimate", [hutch_plus_plus, xtrace, xnystrace])
def test_low_rank_is_found_exactly(estimate: Estimator) -> None:
    matrix = semidefinite(torch.cat([torch.ones(3), torch.zeros(57)]).double())
    if estimate is xtrace:
        # its sketch is singular then: a whisper of noise, as rounding would make
        matrix = matrix + 1e-10 * torch.eye(60, dtype=torch.float64)
    found = estimate(lambda X: matrix @ X, 60, 24, 0)
    assert found.value == pytest.approx(3, abs=1e-6)


def test_traces_that_are_negative() -> None:
    matrix = semidefinite(torch.linspace(-2, 1, 50, dtype=torch.float64))
    for estimate in (hutchinson, hutch_plus_plus, xtrace):
        found = estimate(lambda X: matrix @ X, 50, 30, 2)
        assert found.interval(0.9999)[0] <= -25 <= found.interval(0.9999)[1]
    with pytest.raises(ArithmeticError, match="semidefinite"):
        xnystrace(lambda X: matrix @ X, 50, 30, 2)
    for estimate in ALL:
        with pytest.raises(ValueError, match="too few"):
            estimate(lambda X: matrix @ X, 50, 1, 0)
