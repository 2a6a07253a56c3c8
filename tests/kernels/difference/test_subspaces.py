"""What is left of the directions of a base."""

from __future__ import annotations

import pytest
import torch
from edits import noisy, pruned, quantised

from rmtaudit.kernels.difference.leading import spectral_norm
from rmtaudit.kernels.difference.subspaces import Survival, followed


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _signal(rows: int = 200, cols: int = 120, k: int = 5) -> torch.Tensor:
    generator = _generator(0)
    left, right = torch.randn(rows, k, generator=generator), torch.randn(k, cols, generator=generator)
    return torch.randn(rows, cols, generator=generator) + 1.5 * left @ right / k**0.5


def _followed(base: torch.Tensor, candidate: torch.Tensor) -> Survival:
    kept = followed(base, candidate, _generator(1))
    assert kept is not None
    return kept


def test_nothing_is_lost_of_a_copy_and_a_multiple() -> None:
    base = _signal()
    for candidate in (base, 3 * base):
        kept = _followed(base, candidate)
        assert kept.directions == kept.survived == 5
        assert kept.share == pytest.approx(1, abs=1e-9)
        assert kept.angles[0] < 0.1


def test_an_unrelated_matrix_keeps_nothing() -> None:
    kept = _followed(_signal(), torch.randn(200, 120, generator=_generator(5)))

    assert kept.share < 0.05
    assert kept.survived == 0


def test_noise_has_no_resolvable_direction() -> None:
    noise = torch.randn(200, 120, generator=_generator(3))

    assert followed(noise, noise, _generator(1)) is None


@pytest.mark.parametrize(
    "edits",
    [
        [lambda w, bits=bits: quantised(w, bits) for bits in (8, 4, 2)],
        [lambda w, size=size: noisy(w, size, _generator(9)) for size in (0.1, 1.0)],
        [lambda w, share=share: pruned(w, share) for share in (0.2, 0.5, 0.8)],
    ],
)
def test_the_share_falls_with_the_strength_of_one_edit(edits: list[object]) -> None:
    base = _signal()
    shares = [_followed(base, edit(base)).share for edit in edits]  # type: ignore[operator]

    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == len(shares)


def test_the_share_after_noise_is_that_of_the_formula() -> None:
    """``cos²`` of ``A v`` and ``A v + N v`` is ``s²/(s² + σ² n)`` for each direction."""
    base = _signal().double()
    sigma = 1.3
    shares = [
        _followed(base, base + sigma * torch.randn(base.shape, dtype=torch.float64, generator=_generator(n)))
        for n in range(20)
    ]
    energy = float(torch.linalg.svdvals(base)[:5].square().sum())
    expected = (energy / (energy + sigma**2 * 200 * 5) + energy / (energy + sigma**2 * 120 * 5)) / 2

    mean = sum(kept.share for kept in shares) / len(shares)
    assert mean == pytest.approx(expected, abs=0.02)
    covered = sum(kept.interval[0] <= mean <= kept.interval[1] for kept in shares)
    assert covered >= 15


def test_the_spectral_norm_is_that_of_the_singular_values() -> None:
    matrix = _signal()

    assert spectral_norm(matrix) == pytest.approx(float(torch.linalg.svdvals(matrix)[0]), rel=1e-3)
    assert spectral_norm(torch.zeros(20, 20)) == 0
