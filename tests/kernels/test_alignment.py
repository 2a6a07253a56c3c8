from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.alignment import overlap, random_overlap, share_below


@settings(max_examples=15, deadline=None)
@given(size=st.integers(4, 12), directions=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_mean_and_variance_are_those_of_random_frames(size: int, directions: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(size, dtype=torch.float64, generator=generator) ** 4 + 1e-3
    null = random_overlap(values, size, directions)
    frames = torch.linalg.qr(torch.randn(4000, size, directions, dtype=torch.float64, generator=generator)).Q
    along = (frames.square() * values[:, None]).sum(1)
    drawn = along.mean(1) * size / float(values.sum())
    assert overlap(along[0], float(values.sum()), size) == pytest.approx(float(drawn[0]))
    assert float(drawn.mean()) == pytest.approx(null.mean, abs=5 * null.deviation / math.sqrt(4000) + 1e-12)
    if directions < size:
        assert float(drawn.std()) == pytest.approx(null.deviation, rel=0.12)


def test_all_directions_together_have_no_spread() -> None:
    assert random_overlap(torch.tensor([1.0, 2.0, 5.0]), 3, 3).deviation == pytest.approx(0, abs=1e-7)


def test_the_share_below_is_even_for_random_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([100.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    shares = []
    for _ in range(60):
        frame = torch.linalg.qr(torch.randn(8, 2, dtype=torch.float64, generator=generator)).Q
        value = overlap((frame.square() * values[:, None]).sum(0), float(values.sum()), 8)
        shares.append(share_below(value, values, size=8, directions=2, draws=99, generator=generator))
    # the mean of 60 uniform numbers is .5 ± .037
    assert sum(shares) / 60 == pytest.approx(0.5, abs=4 * 0.037)
    assert min(shares) < 0.2
    assert max(shares) > 0.8


@pytest.mark.parametrize(
    ("values", "size", "directions"), [([1.0], 1, 1), ([1.0, 2.0], 2, 3), ([0.0, 0.0], 2, 1)]
)
def test_what_is_refused(values: list[float], size: int, directions: int) -> None:
    with pytest.raises(ValueError, match="features"):
        random_overlap(torch.tensor(values), size, directions)
