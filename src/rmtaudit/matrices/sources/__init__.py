"""Matrices, and how much of each can be reached."""

from rmtaudit.matrices.sources.algebra import Gram, Product, Shifted
from rmtaudit.matrices.sources.arrays import TensorSource
from rmtaudit.matrices.sources.base import MatrixSource, Reach
from rmtaudit.matrices.sources.comparison import settle_symmetry
from rmtaudit.matrices.sources.covariance import KernelMatrix, MaternMatrix
from rmtaudit.matrices.sources.files import FileMatrix, Layout, ZarrMatrix, npy_layout
from rmtaudit.matrices.sources.known import Known
from rmtaudit.matrices.sources.leading import Leading
from rmtaudit.matrices.sources.opener import SourceOpener
from rmtaudit.matrices.sources.sparse import CompletedLaplacian, Laplacian, SparseMatrix
from rmtaudit.matrices.sources.symmetry import AsymmetricError, Ground

__all__ = [
    "AsymmetricError",
    "CompletedLaplacian",
    "FileMatrix",
    "Gram",
    "Ground",
    "KernelMatrix",
    "Known",
    "Laplacian",
    "Layout",
    "Leading",
    "MaternMatrix",
    "MatrixSource",
    "Product",
    "Reach",
    "Shifted",
    "SourceOpener",
    "SparseMatrix",
    "TensorSource",
    "ZarrMatrix",
    "npy_layout",
    "settle_symmetry",
]
