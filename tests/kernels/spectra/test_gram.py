from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.kernels.spectra import gram as module
from rmtaudit.kernels.spectra.gram import eigenvalues, gram, principal_gram


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
