"""The spectrum of a layer: the eigenvalues that every analyzer of the layer shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Method = Literal["exact", "lanczos", "kpm", "decompressed", "unknown"]
Precision = Literal["float64", "float32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """Eigenvalues of ``WᵀW`` (equivalently, of the Gram matrix of the smaller side of ``W``).

    Attributes
    ----------
    eigenvalues
        Shape ``(n,)``, float64, ascending, on the CPU, in (weight units)², never negative; unresolved ones
        are 0. ``n = min(rows, cols)`` for one matrix, and the sum over the matrices of a pooled layer.
    rows, cols
        Shape of each matrix.
    method
        How they were computed.
    floor
        Resolution floor. An eigenvalue below it is *unresolved*: known to lie in ``[0, floor]`` and nothing
        more. Mostly the absolute error bound of every eigenvalue too.
    unresolved
        Number of unresolved eigenvalues.
    parts
        One spectrum a matrix, where a layer pools several; empty for a single matrix.
    precision
        The arithmetic that the eigenvalues were computed in; the coarsest of several.
    error
        Absolute error bound of every eigenvalue, where it is more than ``floor``: in float32 the smallest
        ones may have been computed apart. 0 otherwise.
    """

    eigenvalues: torch.Tensor
    rows: int
    cols: int
    method: Method
    floor: float
    unresolved: int
    parts: tuple[Spectrum, ...] = ()
    precision: Precision = "float64"
    error: float = 0.0

    @property
    def error_bound(self) -> float:
        """Absolute error bound of every eigenvalue."""
        return max(self.floor, self.error)

    @property
    def resolved(self) -> torch.Tensor:
        """The eigenvalues above the resolution floor, ascending."""
        return self.eigenvalues[self.unresolved :]


def unknown(rows: int, cols: int) -> Spectrum:
    """Return the spectrum of a matrix of this shape that nobody has computed: no eigenvalue is known."""
    import torch

    return Spectrum(
        eigenvalues=torch.empty(0, dtype=torch.float64),
        rows=rows,
        cols=cols,
        method="unknown",
        floor=float("inf"),
        unresolved=0,
    )
