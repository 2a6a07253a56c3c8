"""Freeness of a block from its coordinates: the level holds, and the effects tell structure from chance."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.free.freeness import (
    FreenessEvidence,
    freeness_evidence,
    largest_factor,
    rank_statistic,
    rotated,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def orthogonal(n: int, seed: int) -> torch.Tensor:
    q, r = torch.linalg.qr(torch.randn(n, n, generator=generator(seed), dtype=torch.float64))
    turned: torch.Tensor = q * r.diagonal().sign()
    return turned


def test_the_level_holds_for_uniform_eigenvectors() -> None:
    """Of 400 tests at 5 % a binomial of 400 and 0.05 is rejected: 10 to 32 in all but 0.3 % of cases."""
    values = torch.arange(48.0).double() ** 3
    rejected = sum(rank_statistic(orthogonal(48, seed), values).p_value < 0.05 for seed in range(400))
    assert 8 <= rejected <= 34


def test_the_statistic_of_coordinates_is_its_largest() -> None:
    """The eigenvectors of a diagonal matrix: d = f, so that S = (n - 1)(n + 2)/2."""
    n = 40
    found = rank_statistic(torch.eye(n, dtype=torch.float64), torch.arange(n).double())
    assert found.statistic == pytest.approx((n - 1) * (n + 2) / 2)
    assert found.p_value < 1e-12


def test_a_translation_invariant_matrix_is_rejected_too() -> None:
    """A circulant matrix has a constant diagonal of every function: the statistic is 0, not large."""
    n = 64
    first = torch.exp(-torch.minimum(torch.arange(n), n - torch.arange(n)).double())
    matrix = torch.stack([first.roll(k) for k in range(n)])
    values, vectors = torch.linalg.eigh(matrix)
    found = rank_statistic(vectors, values)
    assert found.statistic < 1e-6
    assert found.p_value < 1e-6


def test_tied_eigenvalues_share_a_rank() -> None:
    """Within an eigenspace the basis is arbitrary, and the statistic does not depend on it."""
    n, half = 30, 12
    turned = orthogonal(n, 3)
    mixed = turned.clone()
    mixed[:, :half] = turned[:, :half] @ orthogonal(half, 4)
    values = torch.cat([torch.zeros(half), torch.arange(1.0, n - half + 1)]).double()
    one, other = rank_statistic(turned, values), rank_statistic(mixed, values + 1e-16)
    assert one.statistic == pytest.approx(other.statistic)
    assert rank_statistic(turned, torch.ones(n).double()) == (n - 1, 1.0)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="do not belong"):
        rank_statistic(torch.eye(3).double(), torch.ones(4).double())
    with pytest.raises(ValueError, match="8 or more"):
        freeness_evidence(torch.eye(4).double(), generator())


@given(n=st.integers(8, 40), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_a_rotation_keeps_the_spectrum(n: int, seed: int) -> None:
    noise = torch.randn(n, n, generator=generator(seed), dtype=torch.float64)
    matrix = noise + noise.T
    turned = rotated(matrix, generator(seed + 1))
    assert torch.equal(turned, turned.T)
    assert torch.allclose(torch.linalg.eigvalsh(turned), torch.linalg.eigvalsh(matrix), atol=1e-10)


def test_a_free_matrix_has_no_effect() -> None:
    noise = torch.randn(256, 512, generator=generator(1), dtype=torch.float64)
    found = freeness_evidence(noise @ noise.T, generator(2))
    assert not found.rejected
    assert found.largest_factor == math.inf
    assert found.excess < 0.02
    assert largest_factor(found) > 2.8


@pytest.mark.parametrize("kind", ["diagonal", "path", "rows of many sizes"])
def test_structure_is_seen_at_every_factor(kind: str) -> None:
    n = 200
    noise = torch.randn(n, 2 * n, generator=generator(5), dtype=torch.float64)
    if kind == "diagonal":
        matrix = torch.diag(noise[0, :n])
    elif kind == "path":
        off = torch.diag(torch.ones(n - 1).double(), 1)
        matrix = 2 * torch.eye(n).double() - off - off.T
    else:
        rows = noise * torch.linspace(0.2, 3, n).double()[:, None]
        matrix = rows @ rows.T
    found = freeness_evidence(matrix, generator(6))
    assert found.rejected
    assert found.largest_factor < 1.5


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e-300, 1e150])
def test_rounding_is_no_structure(scale: float) -> None:
    """The identity and the zero matrix are free of everything, at every scale."""
    found = freeness_evidence(scale * torch.eye(64).double(), generator())
    assert (found.distance, found.excess, found.diagonal_share, found.p_value) == (0, 0, 0, 1)


def test_both_effects_limit_the_factor() -> None:
    def of(distance: float, share: float, p_value: float = 0.0) -> FreenessEvidence:
        return FreenessEvidence(
            size=998, p_value=p_value, distance=distance, chance=0.01, diagonal_share=share
        )

    assert of(0.05, 0.0).largest_factor == pytest.approx(2.0)
    assert of(0.0, 0.102).largest_factor == pytest.approx(3.0)
    assert of(0.05, 0.102).largest_factor == pytest.approx(2.0)
    assert of(0.05, 0.102, p_value=0.5).largest_factor == math.inf
    assert of(0.0, 0.0).largest_factor == math.inf
    hidden = FreenessEvidence(
        size=998, p_value=0.0, distance=0.0, chance=0.01, diagonal_share=0.0, rank_share=0.122
    )
    assert hidden.largest_factor == pytest.approx(2.0)


def test_an_outlier_does_not_hide_the_diagonal() -> None:
    """One direction that all rows share holds nearly all the variance; the ranks do not care."""
    n = 120
    rows = torch.randn(n, 2 * n, generator=generator(8), dtype=torch.float64)
    rows = rows * torch.linspace(0.2, 3, n).double()[:, None]
    plain = freeness_evidence(rows @ rows.T, generator(9))
    spiked = freeness_evidence(rows @ rows.T + 1e4 * torch.ones(n, n).double(), generator(9))
    assert spiked.diagonal_share < 0.01
    assert spiked.rank_share > 0.9 * plain.rank_share > 0.3
    assert spiked.largest_factor < 1.5
