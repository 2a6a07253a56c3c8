from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from rmtaudit.kernels.forensics.initialisation import (
    edge_excess,
    entry_family,
    is_orthogonal,
    scale_names,
)
from rmtaudit.kernels.forensics.shuffles import Exchangeability, exchangeability

from rmtaudit.kernels.eigenvalues import gram_eigenvalues


def draw(family: str, seed: int, shape: tuple[int, int] = (64, 96)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if family == "uniform":
        return torch.rand(shape, generator=generator) - 0.5
    if family == "Student":
        normal = torch.randn(6, *shape, generator=generator)
        return normal[0] / normal[1:].square().mean(0).sqrt()
    W = torch.empty(shape)
    if family == "truncated normal":
        return torch.nn.init.trunc_normal_(W, std=0.5, a=-1, b=1, generator=generator)
    return torch.randn(shape, generator=generator)


def order_of(W: torch.Tensor) -> Exchangeability:
    return exchangeability(W, gram_eigenvalues(W).eigenvalues)


@pytest.mark.parametrize("family", ["normal", "uniform", "Student"])
def test_each_p_value_is_calibrated_on_random_entries(family: str) -> None:
    found = [order_of(draw(family, seed)) for seed in range(120)]
    for name in ("rows", "columns", "products"):
        rejected = sum(getattr(each, name) <= 0.05 for each in found)
        low, high = scipy.stats.binom.ppf([0.0005, 0.9995], 120, 0.05)
        assert low <= rejected <= high, name


def test_unequal_rows_columns_and_correlations_are_rejected() -> None:
    W = draw("normal", 0)
    profile = torch.linspace(0.7, 1.4, 64)
    assert order_of(W * profile[:, None]).rows < 1e-6
    assert order_of((W * profile[:, None]).T.contiguous()).columns < 1e-6
    spike = torch.outer(torch.ones(64), torch.ones(96)) * torch.sign(draw("normal", 1)[:1])
    assert order_of(W + 0.4 * spike).products < 1e-6
    orthogonal = torch.linalg.qr(draw("normal", 2, (96, 96)).double()).Q[:64]
    assert order_of(orthogonal).products < 1e-6


def test_a_shuffle_makes_anything_exchangeable() -> None:
    W = draw("normal", 0) * torch.linspace(0.2, 3, 64)[:, None]
    shuffled = W.flatten()[torch.randperm(W.numel(), generator=torch.Generator().manual_seed(1))].view(
        W.shape
    )
    assert order_of(W).least < 1e-12
    assert order_of(shuffled).least > 0.001


def test_small_matrices_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        exchangeability(torch.randn(4, 9), torch.ones(4))


@pytest.mark.parametrize("family", ["normal", "uniform", "truncated normal"])
def test_the_family_is_named_and_seldom_rejected(family: str) -> None:
    found = [entry_family(draw(family, seed)) for seed in range(60)]
    assert all(each.family == family for each in found)
    assert sum(each.p_value <= 0.05 for each in found) <= scipy.stats.binom.ppf(0.9995, 60, 0.05)


def test_heavy_tails_are_of_no_family() -> None:
    assert entry_family(draw("Student", 0)).p_value < 1e-6


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
    family = entry_family(W).family
    assert scale_names(family, float(W.square().mean().sqrt()), 150, 200, dense=True) == (name,)


def test_no_scale_is_invented() -> None:
    assert scale_names("normal", 0.0371, 150, 200, dense=True) == ()


def test_orthogonal() -> None:
    Q = torch.linalg.qr(draw("normal", 0, (96, 64)).double()).Q
    assert is_orthogonal(gram_eigenvalues(1.4 * Q.float()).eigenvalues, 2.0**-24)
    assert not is_orthogonal(gram_eigenvalues(draw("normal", 0)).eigenvalues, 2.0**-24)
    assert not is_orthogonal(torch.ones(4), 2.0**-24)
    assert not is_orthogonal(torch.ones(64), 2.0**-4)


def test_the_edge_of_noise_has_the_tracy_widom_mean_and_spread() -> None:
    found = torch.tensor(
        [
            edge_excess(
                float(gram_eigenvalues(draw("normal", seed, (80, 200))).eigenvalues[-1]), 1.0, 80, 200
            )
            for seed in range(120)
        ]
    )
    # Tracy-Widom, β = 1: mean -1.2065, sd 1.268
    assert float(found.mean()) == pytest.approx(-1.2065, abs=4 * 1.268 / math.sqrt(120))
    assert float(found.std()) == pytest.approx(1.268, rel=0.2)
