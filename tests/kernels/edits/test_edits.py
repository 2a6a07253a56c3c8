"""Quantised, truncated, pruned and factored weights."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.difference.distortion import distortion
from rmtaudit.kernels.edits.factors import update_factors
from rmtaudit.kernels.edits.quantise import SCHEMES, quantised
from rmtaudit.kernels.edits.spectra import pruned, truncated


def _weight(rows: int, cols: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_quantising_again_changes_nothing(scheme: str) -> None:
    W = _weight(40, 200)
    once = quantised(W, scheme)
    assert once.shape == W.shape
    torch.testing.assert_close(quantised(once, scheme), once, rtol=1e-5, atol=1e-6)
    assert bool((quantised(torch.zeros(3, 5), scheme) == 0).all())


def test_more_bits_and_smaller_blocks_distort_less() -> None:
    W = _weight(64, 256)
    errors = {name: distortion(W, quantised(W, name)).relative_error for name in SCHEMES}
    assert errors["bf16"] < errors["int8"] < errors["int4"]
    assert errors["int8-g32"] < errors["int8"]
    assert errors["int4-g32"] < errors["int4-g128"] < errors["int4"]
    assert errors["int4-g128"] < errors["int3-g128"] < errors["int2-g64"]
    # Uniform rounding: a step of 2 max / 254 over sqrt(12), for rows of 256 normal entries.
    step = W.abs().amax(1).mean() / 127
    assert errors["int8"] == pytest.approx(float(step) / 12**0.5, rel=0.1)


def test_truncation_by_energy_takes_the_least_rank() -> None:
    W = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0]))
    assert int(torch.linalg.matrix_rank(truncated(W, energy=25 / 30))) == 2
    assert int(torch.linalg.matrix_rank(truncated(W, energy=25.1 / 30))) == 3
    torch.testing.assert_close(truncated(W, energy=1.0), W.double())


def test_pruning_zeroes_the_smallest() -> None:
    W = _weight(10, 30)
    cut = pruned(W, 0.4)
    assert int((cut == 0).sum()) == 120
    assert float(W[cut == 0].abs().max()) <= float(cut[cut != 0].abs().min())
    assert pruned(W, 0.0) is W


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("size", [0.01, 0.1])
def test_the_rank_of_an_update_stands_out_of_rounding(dtype: torch.dtype, size: float) -> None:
    W = _weight(96, 64)
    low_rank = _weight(96, 6, 2) @ _weight(6, 64, 3)
    update = low_rank * (size * W.norm() / low_rank.norm())
    stored = (W + update).to(dtype).float()
    eps = torch.finfo(dtype).eps
    room = torch.ldexp(torch.ones_like(stored), torch.frexp(stored).exponent - 1) * eps / 2
    base = W if dtype is torch.float32 else W.to(dtype).float()
    stored = (base + update).to(dtype).float()
    found = update_factors(stored - base, room, rank=None, generator=torch.Generator().manual_seed(0))
    assert found.resolved == found.rank == 6
    assert float((found.up @ found.down - update).norm() / update.norm()) < 0.5 * eps / size + 1e-3
    fixed = update_factors(stored - base, room, rank=3, generator=torch.Generator().manual_seed(0))
    assert (fixed.rank, fixed.resolved) == (3, 6)
    left = (stored - base - fixed.up @ fixed.down).norm() / (stored - base).norm()
    assert fixed.relative_error == pytest.approx(float(left), rel=1e-3)


def test_rounding_alone_has_rank_zero() -> None:
    W = _weight(80, 120)
    stored = W.bfloat16().float()
    room = torch.ldexp(torch.ones_like(stored), torch.frexp(stored).exponent - 9)
    found = update_factors(stored - W, room, rank=None, generator=torch.Generator().manual_seed(0))
    assert found.rank == 0
    assert update_factors(0 * W, 0 * W, rank=None, generator=torch.Generator()).resolved == 0
