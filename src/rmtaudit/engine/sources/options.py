"""What a path cannot say of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

View = Literal["auto", "w", "wtw", "wwt"]
Kernel = Literal["matern", "rbf"]


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What a path cannot say of itself.

    Attributes
    ----------
    view
        ``w``: the matrix as it is. ``wtw``, ``wwt``: its Gram matrix. ``auto``: a layer of a checkpoint as
        the Gram matrix of its smaller side, everything else as it is.
    kernel, nu, length
        The path is a file of points; the matrix is their Matérn covariance or Gaussian kernel.
    laplacian
        The path is a list of edges; the matrix is the graph's Laplacian.
    dtype, shape
        The path is a file of raw numbers in rows, little-endian.
    symmetric
        ``None``: compare with the transpose (what is in memory at once, files as they are read); ``True``,
        ``False``: as the user says.
    shift
        ``t`` of ``A + t I``.
    """

    view: View = "auto"
    kernel: Kernel | None = None
    nu: float = 1.5
    length: float | None = None
    laplacian: Literal["normalised", "combinatorial"] | None = None
    dtype: str | None = None
    shape: str | None = None
    symmetric: bool | None = None
    shift: float = 0.0
