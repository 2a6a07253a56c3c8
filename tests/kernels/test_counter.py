"""Counter-based random numbers: a column depends on seed, purpose and its number alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.counter import normals, seed_of, signs, stream


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**48 - 20), st.integers(1, 200))
def test_any_column_again(seed: int, purpose: int, first: int, size: int) -> None:
    for draw in (signs, normals):
        block = draw(seed, purpose, range(first, first + 4), size)
        assert block.shape == (4, size)
        assert torch.equal(draw(seed, purpose, range(first + 2, first + 3), size)[0], block[2])
    assert bool((signs(seed, purpose, range(first, first + 4), size).abs() == 1).all())


def test_streams_are_apart() -> None:
    base = normals(1, 2, range(3, 4), 50)
    for seed, purpose, column in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not torch.equal(normals(seed, purpose, range(column, column + 1), 50), base)


def test_moments() -> None:
    found = normals(0, 0, range(200), 500)
    assert float(found.mean()) == pytest.approx(0, abs=4 / 100_000**0.5)
    assert float(found.var()) == pytest.approx(1, abs=4 * (2 / 100_000) ** 0.5)
    coins = signs(0, 0, range(200), 500)
    assert float(coins.mean()) == pytest.approx(0, abs=4 / 100_000**0.5)
    # neighbouring columns do not move together
    assert float((coins[:-1] * coins[1:]).mean()) == pytest.approx(0, abs=4 / 99_500**0.5)


def test_a_seed_from_a_generator() -> None:
    first, again = (seed_of(torch.Generator().manual_seed(5)) for _ in range(2))
    assert first == again
    assert 0 <= first < 2**62


@pytest.mark.parametrize("key", [(-1, 0, 0), (2**64, 0, 0), (0, 2**16, 0), (0, 0, 2**48), (0, 0, -1)])
def test_what_is_no_stream(key: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no stream"):
        stream(*key)
