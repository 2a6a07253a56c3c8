"""What a path cannot say of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rmtaudit.errors import UsageError
from rmtaudit.matrices.sources.sparse import Normalisation

View = Literal["auto", "w", "wtw", "wwt"]
Kernel = Literal["matern", "rbf"]


@dataclass(frozen=True, slots=True, kw_only=True)
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
    laplacian: Normalisation | None = None
    dtype: str | None = None
    shape: str | None = None
    symmetric: bool | None = None
    shift: float = 0.0


def check_options(options: SourceOptions) -> None:
    """Raise ``UsageError`` for a word that is not known (RA-MS-037), or options that contradict each other.

    The latter is RA-MS-036.
    """
    known: dict[str, tuple[str | None, tuple[str, ...]]] = {
        "view": (options.view, get_args(View)),
        "kernel": (options.kernel, get_args(Kernel)),
        "laplacian": (options.laplacian, get_args(Normalisation)),
    }
    for name, (value, words) in known.items():
        if value is not None and value not in words:
            raise UsageError("RA-MS-037", f"The {name} must be one of {', '.join(words)}, not {value!r}.")
    given = {
        "--kernel": options.kernel is not None,
        "--laplacian": options.laplacian is not None,
        "--dtype and --shape": options.dtype is not None or options.shape is not None,
    }
    chosen = [word for word, present in given.items() if present]
    if len(chosen) > 1:
        raise UsageError("RA-MS-036", f"{' and '.join(chosen)} cannot both describe the path.")
    if chosen and chosen[0] != "--dtype and --shape" and options.view != "auto":
        raise UsageError("RA-MS-036", f"{chosen[0]} makes a symmetric matrix, so --as has no effect.")
