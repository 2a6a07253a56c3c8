from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.kernels.spectra import gram as module
from rmtaudit.kernels.spectra.gram import eigenvalues, gram, principal_gram, row_blocks, squared_norm


@given(rows=st.integers(1, 90), cols=st.integers(1, 40), seed=st.integers(0, 99), wide=st.booleans())
def test_a_principal_block_is_that_of_the_whole(rows: int, cols: int, seed: int, wide: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, cols, generator=generator)
    given_matrix = matrix.T.contiguous().T if wide else matrix
    chosen = torch.randperm(cols, generator=generator)[: (cols + 1) // 2]
    whole = matrix.double().T @ matrix.double()
    found = principal_gram(given_matrix, chosen)
    assert found.dtype == torch.float64
    assert torch.equal(found, found.T)
    assert torch.allclose(found, whole[chosen][:, chosen], rtol=1e-12, atol=1e-12)


def test_all_columns_in_many_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.randn(700, 50, generator=torch.Generator().manual_seed(0))
    expected = gram(matrix)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1)
    assert torch.allclose(principal_gram(matrix, torch.arange(50)), expected, rtol=1e-13, atol=1e-12)


def test_eigenvalues_of_a_float32_gram_matrix_are_float64() -> None:
    matrix = torch.randn(300, 90, generator=torch.Generator().manual_seed(4))
    rough, exact = (eigenvalues(gram(matrix, dtype=dtype)) for dtype in (torch.float32, torch.float64))
    assert rough.dtype == torch.float64
    torch.testing.assert_close(rough, exact, rtol=0, atol=float(exact[-1]) * 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_transposed_matrix_is_copied_and_summed_as_it_lies(dtype: torch.dtype) -> None:
    stored = torch.randn(40, 900, dtype=dtype, generator=torch.Generator().manual_seed(5))
    copies = [(band, block) for band, block in row_blocks(stored.T, dtype)]
    assert all(block.T.is_contiguous() for _, block in copies)
    assert all(torch.equal(block, stored.T[band]) for band, block in copies)
    copies[0][1].zero_()
    assert float(stored[:, 0].abs().max()) > 0
    scales = torch.rand(900, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    summed = gram(stored.T, lambda block, band: block.mul_(scales[band]))
    wide = stored.double().T * scales
    torch.testing.assert_close(summed, wide.T @ wide, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (5, 7), (900, 40)])
def test_squared_norm_is_in_float64(shape: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(7))
    expected = float(matrix.double().square().sum())
    for lying in (matrix, matrix.T, matrix.T.contiguous().T):
        assert squared_norm(lying) == pytest.approx(expected, rel=1e-14)
