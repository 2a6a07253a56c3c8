"""Sketches: any block again alone, unbiased, and near-isometries of small spaces."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from decays import orthonormal
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.randnla.sketch import Sketch

Kind = Literal["gaussian", "sparse", "hadamard"]
KINDS: tuple[Kind, ...] = ("gaussian", "sparse", "hadamard")


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.integers(1, 30),
    st.integers(30, 700),
    st.integers(1, 9),
    st.integers(0, 2**63),
    st.data(),
)
def test_blocks_apply_and_whole_agree(
    kind: Kind, rows: int, size: int, nonzeros: int, seed: int, data: st.DataObject
) -> None:
    sketch = Sketch(rows=rows, size=size, seed=seed, kind=kind, nonzeros=nonzeros)
    whole = sketch.block(range(size))
    assert whole.shape == (rows, size)
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    if stop > start:
        assert torch.equal(sketch.block(range(start, stop)), whole[:, start:stop])
    matrix = torch.randn(size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(sketch.apply(matrix), whole @ matrix, atol=1e-12)
    lengths = (whole**2).sum(dim=0)
    if kind != "gaussian":
        # columns of the sparse one have length 1; entries of the Hadamard one are all ±1/√d
        assert torch.allclose(lengths, torch.ones_like(lengths))
    if kind == "sparse":
        assert bool(((whole != 0).sum(dim=0) == min(nonzeros, rows)).all())


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_are_kept_on_average(kind: Kind) -> None:
    vector = torch.linspace(-1, 2, 100, dtype=torch.float64)[:, None]
    lengths = torch.stack(
        [(Sketch(rows=40, size=100, seed=seed, kind=kind).apply(vector) ** 2).sum() for seed in range(150)]
    )
    mean, error = float(lengths.mean()), float(lengths.std()) / 150**0.5
    assert abs(mean - float((vector**2).sum())) <= 4 * error


@pytest.mark.parametrize("kind", KINDS)
def test_the_distortion_is_that_of_the_space(kind: Kind) -> None:
    basis = orthonormal(1000, 20, 0)
    sketch = Sketch(rows=200, size=1000, seed=1, kind=kind)
    low, high = sketch.distortion(basis)
    assert 0.55 < low < 1 < high < 1.45
    vector = basis @ torch.ones(20, 1, dtype=torch.float64) / 20**0.5
    assert low <= float(torch.linalg.vector_norm(sketch.apply(vector))) <= high
    assert Sketch(rows=10, size=1000, seed=1).distortion(basis)[0] == 0


def test_float32_bands_are_widened() -> None:
    matrix = torch.randn(5000, 100, generator=torch.Generator().manual_seed(0))
    for kind in KINDS:
        sketch = Sketch(rows=16, size=5000, seed=4, kind=kind)
        assert torch.allclose(sketch.apply(matrix), sketch.block(range(5000)) @ matrix.double(), atol=1e-11)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        Sketch(rows=0, size=5, seed=0)
    with pytest.raises(ValueError, match="at most 8 rows"):
        Sketch(rows=9, size=5, seed=0, kind="hadamard")
    with pytest.raises(ValueError, match="columns"):
        Sketch(rows=2, size=5, seed=0).block(range(3, 7))
    with pytest.raises(ValueError, match="shape"):
        Sketch(rows=2, size=5, seed=0).apply(torch.ones(4, 2))
