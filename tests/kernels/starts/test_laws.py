"""The law of the entries and the name of their scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from rmtaudit.kernels.starts.laws import _kolmogorov_tail, entry_law
from rmtaudit.kernels.starts.scales import scale_names


def draw(family: str, seed: int, shape: tuple[int, int] = (64, 96)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if family == "uniform":
        return torch.rand(shape, generator=generator) - 0.5
    if family == "Student":
        normal = torch.randn(6, *shape, generator=generator)
        return normal[0] / normal[1:].square().mean(0).sqrt()
    if family == "truncated normal":
        return torch.nn.init.trunc_normal_(torch.empty(shape), std=0.5, a=-1, b=1, generator=generator)
    return torch.randn(shape, generator=generator)


@pytest.mark.parametrize("family", ["normal", "uniform", "truncated normal"])
@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_the_family_is_named_and_seldom_rejected(family: str, offset: float) -> None:
    found = [entry_law(draw(family, seed) + offset) for seed in range(60)]
    assert all(each.family == family for each in found)
    assert sum(each.p_value <= 0.05 for each in found) <= scipy.stats.binom.ppf(0.9995, 60, 0.05)
    assert all(each.mean == pytest.approx(offset, abs=0.06) for each in found)


def test_heavy_tails_are_of_no_family() -> None:
    found = entry_law(draw("Student", 0))
    assert found.p_value < 1e-6
    assert found.distance > 0.015


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda W: torch.nn.init.normal_(W, std=0.02), "normal, std 0.02"),
        (lambda W: torch.nn.init.kaiming_normal_(W), "Kaiming normal, relu, fan in 200"),
        (lambda W: torch.nn.init.kaiming_uniform_(W), "Kaiming uniform, relu, fan in 200"),
        (
            lambda W: torch.nn.init.kaiming_uniform_(W, a=math.sqrt(5)),
            "PyTorch default (Kaiming uniform, a=√5), fan in 200",
        ),
        (lambda W: torch.nn.init.xavier_uniform_(W), "Xavier uniform, fans 200 and 150"),
        (lambda W: torch.nn.init.xavier_normal_(W), "Xavier normal, fans 200 and 150"),
    ],
)
def test_the_scale_is_recognised(make: object, name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        W = make(torch.empty(150, 200))  # type: ignore[operator]
    law = entry_law(W)
    assert scale_names(law.family, law.std, 150, 200, dense=True) == (name,)


def test_no_scale_is_invented() -> None:
    assert scale_names("normal", 0.0371, 150, 200, dense=True) == ()


def test_kolmogorovs_law_is_that_of_scipy() -> None:
    x = np.linspace(0, 6, 6001)
    found = [_kolmogorov_tail(float(each)) for each in x]
    np.testing.assert_allclose(found, scipy.special.kolmogorov(x), rtol=1e-12, atol=0)
