"""One contract for every source: whatever is offered agrees with the dense matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from rmtaudit.checkpoints.files import FileSource
from rmtaudit.errors import UnreachableError
from rmtaudit.matrices.sources import (
    CompletedLaplacian,
    FileMatrix,
    Gram,
    KernelMatrix,
    Laplacian,
    Layout,
    Leading,
    MaternMatrix,
    MatrixSource,
    Product,
    Reach,
    Shifted,
    SparseMatrix,
    TensorSource,
    ZarrMatrix,
    npy_layout,
)

N = 70


def _square() -> torch.Tensor:
    return torch.randn(N, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _spd() -> torch.Tensor:
    square = _square()
    return (square @ square.T + N * torch.eye(N)).tril_() + (square @ square.T).tril(-1).T


def _npy(folder: Path, array: np.ndarray) -> FileMatrix:
    path = folder / "matrix.npy"
    np.save(path, array)
    file = FileSource(path)
    return FileMatrix(file, npy_layout(file, "matrix.npy"), "matrix.npy")


def _raw(folder: Path, array: np.ndarray) -> FileMatrix:
    path = folder / "matrix.bin"
    array.tofile(path)
    name = array.dtype.newbyteorder("=").name
    return FileMatrix(FileSource(path), Layout(offset=0, shape=array.shape, dtype=name), "matrix.bin")


def _zarr(folder: Path, array: np.ndarray) -> ZarrMatrix:
    zarr = pytest.importorskip("zarr")
    stored = zarr.create_array(
        store=str(folder / "m.zarr"), shape=array.shape, chunks=(16, 24), dtype=array.dtype
    )
    stored[:] = array
    return ZarrMatrix(stored, "m.zarr")


def _path_graph() -> np.ndarray:
    return np.array([[k, k + 1] for k in range(30)] + [[40 + k, 41 + k] for k in range(9)] + [[40, 45]])


def _matern(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.exp(-(a[:, None] - b[None]).abs().sum(-1))


KINDS = (
    "tensor", "numpy int32", "numpy uint16", "rectangular", "npy", "npy float32 fortran", "npy big-endian",
    "npy rectangular fortran", "raw float16", "zarr", "matern", "gaussian", "callable", "sparse",
    "laplacian", "combinatorial", "shifted", "product", "gram", "gram of rows", "leading",
)  # fmt: skip


def _make(kind: str, folder: Path) -> MatrixSource:
    points = torch.rand(N, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    tall = torch.randn(N, 40, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    match kind:
        case "tensor":
            return TensorSource(_spd())
        case "numpy int32" | "numpy uint16":
            return TensorSource(np.arange(N * N).reshape(N, N).astype(kind.split()[1]))
        case "rectangular":
            return TensorSource(tall)
        case "npy":
            return _npy(folder, _spd().numpy())
        case "npy float32 fortran":
            return _npy(folder, np.asfortranarray(_square().numpy().astype(np.float32)))
        case "npy big-endian":
            return _npy(folder, _square().numpy().astype(">f8"))
        case "npy rectangular fortran":
            return _npy(folder, np.asfortranarray(tall.numpy()))
        case "raw float16":
            return _raw(folder, _square().numpy().astype(np.float16))
        case "zarr":
            return _zarr(folder, _spd().numpy())
        case "matern":
            return MaternMatrix(points, nu=1.5, length=0.2)
        case "gaussian":
            return MaternMatrix(points, nu=math.inf, length=0.2)
        case "callable":
            return KernelMatrix(points, _matern)
        case "sparse":
            return SparseMatrix(scipy.sparse.random_array((N, N), density=0.1, rng=4))
        case "laplacian":
            return Laplacian(_path_graph())
        case "combinatorial":
            return Laplacian(_path_graph(), "combinatorial")
        case "shifted":
            return Shifted(TensorSource(_spd()), 0.5)
        case "product":
            return Product(TensorSource(tall.T.clone()), TensorSource(_square()))
        case "gram":
            return Gram(TensorSource(tall), "columns")
        case "gram of rows":
            return Gram(TensorSource(tall), "rows")
        case "leading":
            return Leading(TensorSource(_spd()), 33)
    raise AssertionError(kind)


def test_a_completed_laplacian_has_ones_for_zeros() -> None:
    edges = np.concatenate([_path_graph(), [[900, 900], [901, 902]]])
    for kind in ("normalised", "combinatorial"):
        graph = Laplacian(edges, kind)
        completed = CompletedLaplacian(graph)
        found = completed.matmul(torch.eye(graph.shape[0], dtype=torch.float64))
        basis = torch.zeros((graph.shape[0], int(graph.components)), dtype=torch.float64)
        basis[torch.arange(len(basis)), graph.component] = torch.from_numpy(graph.null_weights())
        torch.testing.assert_close(found, graph.dense() + basis @ basis.T)
        torch.testing.assert_close(basis.T @ basis, torch.eye(graph.components, dtype=torch.float64))
        expected = np.linalg.eigvalsh(graph.dense().numpy())
        expected[: graph.components] = 1
        np.testing.assert_allclose(np.linalg.eigvalsh(found.numpy()), np.sort(expected), atol=1e-12)
        with pytest.raises(UnreachableError):
            completed.dense()


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MatrixSource]:
    made = _make(request.param, tmp_path)
    yield made
    made.close()


def test_every_way_of_reaching_it_gives_the_same_matrix(source: MatrixSource) -> None:
    rows, cols = source.shape
    whole = source.dense()
    assert whole.dtype == torch.float64
    assert tuple(whole.shape) == source.shape
    here, there = range(rows // 3, rows - 2), range(1, cols // 2)
    close: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12 * float(whole.abs().max())}
    torch.testing.assert_close(
        source.block(here, there), whole[here.start : here.stop, 1 : there.stop], **close
    )
    X = torch.randn(cols, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    Y = torch.randn(rows, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    torch.testing.assert_close(source.matmul(X), whole @ X, rtol=1e-10, atol=1e-9 * float(whole.abs().max()))
    torch.testing.assert_close(
        source.rmatmul(Y), whole.T @ Y, rtol=1e-10, atol=1e-9 * float(whole.abs().max())
    )
    torch.testing.assert_close(source.diagonal(), whole.diagonal(), **close)
    if Reach.PRINCIPAL in source.reach:
        indices = torch.tensor([5, 2, cols - 1, 17])
        torch.testing.assert_close(source.principal(indices), whole[indices][:, indices], **close)
    else:
        with pytest.raises(UnreachableError, match="RA-MS-001"):
            source.principal(torch.tensor([0]))


def test_symmetric_means_symmetric(source: MatrixSource) -> None:
    whole = source.dense()
    equal = source.square and bool((whole - whole.T).abs().max() <= 1e-13 * whole.abs().max())
    assert source.symmetric == equal
    assert source.symmetry != MatrixSource.symmetry
    if source.semidefinite:
        assert float(torch.linalg.eigvalsh(whole)[0]) > -1e-10


def test_the_fingerprint_is_of_the_matrix(source: MatrixSource) -> None:
    assert source.fingerprint() == source.fingerprint()
    if source.square:
        assert Shifted(source, 1e-3).fingerprint() != source.fingerprint()


def test_a_block_is_written_into_a_view(source: MatrixSource) -> None:
    buffer = torch.full((12, 12), math.nan, dtype=torch.float64)
    source.block_into(range(3, 9), range(2, 12), buffer[2:8, 1:11])
    torch.testing.assert_close(buffer[2:8, 1:11], source.dense()[3:9, 2:12], rtol=1e-12, atol=1e-12)
    assert int(buffer.isnan().sum()) == 12 * 12 - 60
