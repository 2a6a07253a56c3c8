from __future__ import annotations

import numpy as np
import pytest
import torch

from rmtaudit.kernels.spectra import eigenvalues, gram, openblas, two_stage


@pytest.fixture
def library() -> openblas.OpenBLAS:
    library = openblas.load()
    if library is None:
        pytest.skip("this SciPy and NumPy ship no OpenBLAS with the two stages")
    return library


def symmetric(n: int) -> np.ndarray:
    matrix = np.random.default_rng(n).standard_normal((n, n))
    return matrix + matrix.T


@pytest.mark.parametrize("width", [1, 2, 16, 64, 80, 128])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_band_gives_the_eigenvalues(
    library: openblas.OpenBLAS, width: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_stage, "_BANDS", ((0, {dtype: width}),))
    for n in (2, 65, 66, 81, 300):
        matrix = symmetric(n).astype(dtype)
        expected = np.linalg.eigvalsh(matrix.astype(np.float64))
        single = dtype == "float32"
        values = (library.float32_eigenvalues if single else library.symmetric_eigenvalues)(matrix)
        largest = np.abs(expected).max()
        np.testing.assert_allclose(values, expected, rtol=0, atol=(2e-6 if single else 1e-14 * n) * largest)


def test_rows_with_room_between_them(library: openblas.OpenBLAS) -> None:
    matrix = np.random.default_rng(0).standard_normal((90, 60))
    for driver in ("dsyevd", "dsyevd_2stage"):
        room = two_stage.padded(60)
        assert not room.flags.c_contiguous
        library.accumulate_gram(matrix, room)
        np.testing.assert_allclose(np.triu(room), np.triu(matrix.T @ matrix), atol=1e-12)
        values = library.symmetric_eigenvalues(room, driver)
        np.testing.assert_allclose(np.sqrt(values), np.linalg.svd(matrix)[1][::-1], rtol=1e-12)


def test_every_size_has_a_band() -> None:
    widths = [
        two_stage._band_width(n, dtype) for n in (2, 2048, 4096, 20000) for dtype in ("float32", "float64")
    ]
    assert min(widths) == 32
    assert max(widths) == 80


@pytest.mark.parametrize("factor", [1e-140, 1e140])
def test_entries_beyond_the_range_are_scaled(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eigenvalues, "TWO_STAGE_FROM", 10)
    matrix = symmetric(40)
    values = eigenvalues.symmetric_eigenvalues(torch.from_numpy(matrix * factor))
    np.testing.assert_allclose(values / factor, np.linalg.eigvalsh(matrix), rtol=0, atol=1e-12)


def test_gram_matrices_above_the_size_take_two_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    product = torch.from_numpy(symmetric(50) @ symmetric(50))
    product = (product + product.T) / 2
    expected = gram.eigenvalues(product)
    monkeypatch.setattr(gram, "TWO_STAGE_FROM", 10)
    before = product.clone()
    torch.testing.assert_close(gram.eigenvalues(product), expected, rtol=1e-9, atol=1e-9)
    assert torch.equal(product, before)
