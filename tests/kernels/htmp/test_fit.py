"""The composite likelihood of eigenvalues: the same from a law around the values as from the whole law."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rmtaudit.kernels.htmp.density import density_of
from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.fit import best_kappa, density_for, fit_scale


@pytest.mark.parametrize(
    ("c", "delta"), [(0.2, 0.01), (3.0, 0.4), (10.0, 30.0), (60.0, 0.5), (400.0, 1200.0)]
)
def test_a_law_between_bounds_is_the_whole_law_there(c: float, delta: float) -> None:
    middle = math.log(max(c + delta, 1.0))
    low, high = middle - 4, middle + 1.2
    part, whole = density_of(c, delta, (low, high)), density_of(c, delta)
    assert part.u.size < whole.u.size or c == 400  # which has no more than its bulk anyway
    # where either has no more points the density is below e^-200 of its peak
    u = np.linspace(max(low, part.u[0], whole.u[0]), min(high, part.u[-1], whole.u[-1]), 500)
    assert part.at(u) == pytest.approx(whole.at(u), rel=1e-10, abs=1e-10)
    for of_part, of_whole in zip(part.slopes(u), whole.slopes(u), strict=True):
        assert of_part == pytest.approx(of_whole, rel=1e-7, abs=1e-7 * np.abs(of_whole).max())


def test_the_slopes_are_the_derivatives_of_the_density() -> None:
    law = density_of(3.0, 2.0)
    u, step = np.linspace(-3.0, 3.5, 200), 1e-4
    slope, bend = law.slopes(u)
    low, middle, high = law.at(u - step), law.at(u), law.at(u + step)
    assert slope == pytest.approx((high - low) / (2 * step), rel=1e-6, abs=1e-6)
    assert bend == pytest.approx((high - 2 * middle + low) / step**2, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_the_best_kappa_has_the_likelihood_of_the_whole_law(spread: float) -> None:
    """Also of values that the law does not describe: spread out, so that their scale is not their mean."""
    values = Ensemble(4.0, 80, 120).draw(torch.Generator().manual_seed(0))
    logs = spread * np.log(values)
    kappa, scale = best_kappa(logs, 80, 120, 2.0)
    whole = fit_scale(logs, density_for(Ensemble(kappa, 80, 120)))
    assert scale.log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-7)
    assert scale.mean == pytest.approx(whole.mean, rel=1e-5)
    for other in (kappa * 0.8, kappa * 1.25):
        assert (
            fit_scale(logs, density_for(Ensemble(other, 80, 120))).log_likelihood
            <= scale.log_likelihood + 1e-6
        )
