"""The power-law fits of the peers against their definition, candidate by candidate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.ww.candidates import Candidate, fit_small_or_large, fit_truncated
from rmtaudit.kernels.ww.cut_off import fit_cut_off
from rmtaudit.kernels.ww.tail import TailOptions, fit_tail


def pareto(n: int, seed: int, alpha: float = 2.5) -> np.ndarray:
    return np.sort((1 - np.random.default_rng(seed).random(n)) ** (-1 / (alpha - 1)))


def peers_candidates(x: np.ndarray, *, shrink: int = 0, least: int = 2) -> list[Candidate]:
    """Return every candidate of the definition: ``D`` at the foot of every step, position by position."""
    found = []
    for start in range(len(x) - least + 1):
        tail, size = x[start:], len(x) - start
        alpha = 1 + (size - shrink) / np.log(tail / tail[0]).sum()
        distance = np.abs(1 - (tail / tail[0]) ** (1 - alpha) - np.arange(size) / size).max()
        sigma = (alpha - 1) / math.sqrt(size)
        found.append(
            Candidate(alpha=alpha, xmin=float(tail[0]), xmax=float(x[-1]), D=float(distance), sigma=sigma)
        )
    return found


def same(one: Candidate, other: Candidate) -> None:
    for name in ("alpha", "xmin", "xmax", "D", "sigma"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9)


@given(st.integers(20, 90), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_from_20_values_on_the_least_distance_wins(n: int, seed: int) -> None:
    x = pareto(n, seed)
    same(fit_small_or_large(x), min(peers_candidates(x), key=lambda fit: fit.D))


@given(st.integers(8, 19), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_below_20_values_tails_have_8_and_alpha_is_corrected(n: int, seed: int) -> None:
    x = pareto(n, seed)
    same(fit_small_or_large(x), min(peers_candidates(x, shrink=1, least=8), key=lambda fit: fit.D))


@pytest.mark.parametrize("n", [2, 5, 7])
def test_below_8_values_all_are_the_tail(n: int) -> None:
    x = pareto(n, n)
    fit = fit_small_or_large(x)
    whole = peers_candidates(x, shrink=1)[0]
    assert (fit.alpha, fit.xmin, fit.D) == pytest.approx((whole.alpha, whole.xmin, whole.D))
    assert fit.sigma == -1 / math.sqrt(n)  # the peer's fault, kept


def test_powerlaw_without_an_end_is_the_plain_fit_at_any_size() -> None:
    for n in (3, 12, 40):
        x = pareto(n, n)
        same(fit_truncated(x), min(peers_candidates(x), key=lambda fit: fit.D))


def test_powerlaw_takes_ties_once() -> None:
    x = np.array([1.0, 1.0, 2.0, 3.0, 3.0, 5.0, 8.0])
    fit = fit_truncated(x)
    assert fit.xmin in (1.0, 2.0, 3.0, 5.0)
    # by hand: of xmin 1, 2, 3, 5 the third has the least distance, from 4 values in 3 steps at 0, 1/2, 3/4
    rate = 4 / np.log(x[3:] / 3).sum()
    law = 1 - (np.array([3.0, 5.0, 8.0]) / 3) ** -rate
    distances = {3.0: np.abs(law - [0, 1 / 2, 3 / 4]).max()}
    for start, steps in ((0, [0, 2, 3, 5, 6]), (2, [0, 1, 3, 4]), (5, [0, 1])):
        tail = x[start:]
        points = np.unique(tail)
        law = 1 - (points / tail[0]) ** (-len(tail) / np.log(tail / tail[0]).sum())
        distances[float(tail[0])] = np.abs(law - np.array(steps) / len(tail)).max()
    assert fit.xmin == min(distances, key=lambda xmin: distances[xmin])
    assert pytest.approx(distances[fit.xmin]) == fit.D


def test_a_truncated_law_reaches_one_at_its_end() -> None:
    """With the end at the largest value the distance there is ``1/m``, so none is smaller than that."""
    x = pareto(50, 3)
    fit = fit_truncated(x, xmax=float(x[-1]))
    size = np.count_nonzero(x >= fit.xmin)
    assert fit.xmax == x[-1]
    assert 1 / size <= fit.D
    assert fit.alpha == pytest.approx(1 + size / np.log(x[-size:] / fit.xmin).sum())


def test_a_window_bounds_xmin() -> None:
    x = pareto(60, 4)
    fit = fit_truncated(x, window=(float(x[10]), float(x[20])))
    allowed = peers_candidates(x)[10:20]  # without the last
    same(fit, min(allowed, key=lambda candidate: candidate.D))


@pytest.mark.parametrize("values", [[], [2.0], [3.0, 3.0], [1.0] * 9, [1.0] * 30])
def test_nothing_to_fit_is_an_error(values: list[float]) -> None:
    with pytest.raises(ArithmeticError):
        fit_small_or_large(np.array(values))
    with pytest.raises(ArithmeticError):
        fit_truncated(np.array(values))


def test_eigenvalues_up_to_the_absolute_bound_are_left_out() -> None:
    tail = pareto(40, 5)
    values = torch.from_numpy(np.concatenate([np.full(7, 1e-5), tail]))
    with_small, without = fit_tail(values), fit_tail(torch.from_numpy(tail))
    assert with_small == without


def test_dropped_eigenvalues_do_not_count_as_spikes() -> None:
    values = torch.from_numpy(pareto(60, 6))
    fit = fit_tail(values, TailOptions(xmax=4))
    assert fit == fit_tail(values[:-4])
    assert fit.xmax == float(values[-5])


def test_clipped_fingers_do_count() -> None:
    """A Gaussian bulk: clipping lowers the exponent, and the clipped values stay above xmin."""
    generator = torch.Generator().manual_seed(1)
    values = (
        torch.linalg.svdvals(torch.randn(200, 150, generator=generator, dtype=torch.float64)).flip(0) ** 2
    )
    raw = fit_tail(values)
    fit = fit_tail(values, TailOptions(fix_fingers="clip_xmax", finger_thresh=0.5))
    assert fit.raw_alpha == raw.alpha
    assert fit.alpha + 0.5 < raw.alpha
    dropped = fit.num_fingers + 1  # the count is one less than the number clipped
    assert fit.xmax == float(values[-1 - dropped])
    assert fit.num_pl_spikes == int((values >= fit.xmin).sum())
    refit = fit_tail(values[:-dropped])
    assert (fit.alpha, fit.xmin, fit.D) == (refit.alpha, refit.xmin, refit.D)


@pytest.mark.parametrize("package", ["ww", "powerlaw"])
def test_clipping_that_runs_out_of_values_fails(package: str) -> None:
    options = TailOptions(package=package, fix_fingers="clip_xmax", finger_thresh=100.0)  # type: ignore[arg-type]
    # exponents above 2, so that the search goes on to the last finger
    values = torch.from_numpy(pareto(11, 8, alpha=6.0))
    with pytest.raises(ArithmeticError, match="clipping ran out"):
        fit_tail(values, options)


def test_a_small_max_fingers_counts_only_from_half_of_the_values_on() -> None:
    values = torch.from_numpy(pareto(40, 9, alpha=6.0))
    ten, reset = (
        fit_tail(values, TailOptions(fix_fingers="clip_xmax", max_fingers=most)) for most in (10, 3)
    )
    assert ten == reset
    with pytest.raises(ArithmeticError, match="leaves nothing to try"):
        fit_tail(values[:4], TailOptions(fix_fingers="clip_xmax", max_fingers=2))


def test_xmax_beyond_half_is_an_error() -> None:
    values = torch.from_numpy(pareto(40, 10))
    assert fit_tail(values, TailOptions(xmax=-20)) == fit_tail(values[:-20])
    with pytest.raises(ArithmeticError, match="more than half"):
        fit_tail(values, TailOptions(xmax=21))


def cut_off_sample(n: int, seed: int, alpha: float, rate: float) -> np.ndarray:
    """Draw from ``x^-alpha exp(-rate x)``, ``x >= 1``: a power law, thinned by the exponential."""
    rng = np.random.default_rng(seed)
    x = (1 - rng.random(40 * n)) ** (-1 / (alpha - 1))
    return np.sort(x[rng.random(x.size) < np.exp(-rate * (x - 1))][:n])


def test_a_law_with_a_cut_off_is_found_again() -> None:
    """Within 4 standard errors: the Fisher information is the covariance of ``log x`` and ``x``."""
    x = cut_off_sample(600, 11, alpha=2.0, rate=0.1)
    fit = fit_cut_off(x, window=(0.0, float(x[2])))
    errors = np.sqrt(np.diag(np.linalg.inv(np.cov(np.log(x), x))) / x.size)
    assert np.all(errors < [0.15, 0.05])
    assert abs(fit.alpha - 2.0) < 4 * errors[0]
    assert abs(fit.Lambda - 0.1) < 4 * errors[1]
    assert math.sqrt(x.size) * fit.D < 1.5


def test_the_cut_off_maximises_the_likelihood() -> None:
    """At the greatest likelihood the mean and the mean logarithm are those of the law (by quadrature)."""
    x = cut_off_sample(300, 12, alpha=2.0, rate=0.1)
    fit = fit_cut_off(x, window=(0.0, float(x[1])))
    tail = x[x >= fit.xmin]
    u = np.linspace(0, 1, 200_001)[1:]
    points = fit.xmin / u  # x from xmin to infinity; dx = xmin/u² du
    density = (points / fit.xmin) ** -fit.alpha * np.exp(-fit.Lambda * (points - fit.xmin)) / u**2
    mean, mean_log = ((density * value).sum() / density.sum() for value in (points, np.log(points)))
    assert mean == pytest.approx(tail.mean(), rel=2e-3)
    assert mean_log == pytest.approx(np.log(tail).mean(), rel=2e-3)


def test_e_tpl_is_tpl_near_the_peak() -> None:
    values = torch.from_numpy(cut_off_sample(40, 13, alpha=2.0, rate=0.1))
    peaked = TailOptions(package="powerlaw", fix_fingers="xmin_peak", fit="TPL")
    extended = TailOptions(package="powerlaw", fit="E_TPL")
    assert fit_tail(values, extended) == fit_tail(values, peaked)
    assert fit_tail(values, extended).sigma is None
    assert fit_tail(values, extended).Lambda > 0
    assert fit_tail(values).Lambda == 0
