"""Kernel matrices: entries are a function of two points, evaluated block by block as they are needed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from rmtaudit.errors import InputError, UsageError
from rmtaudit.matrices.sources.arrays import EVERYTHING, check_finite, check_shape, declared_symmetry
from rmtaudit.matrices.sources.base import MatrixSource
from rmtaudit.matrices.sources.known import Known
from rmtaudit.matrices.sources.symmetry import BY_CONSTRUCTION, Ground, Symmetry

if TYPE_CHECKING:
    import torch

    Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


_ENTRY_FLOPS = 40.0
"""Operations that evaluating an entry is worth, most of them of an exponential."""


class KernelMatrix(MatrixSource):
    """The matrix ``f(xᵢ, xⱼ)`` of points, never formed.

    Parameters
    ----------
    points
        Float, shape ``(n, d)``; a vector is n points on a line.
    function
        From two sets of points, ``(p, d)`` and ``(q, d)``, to a ``(p, q)`` tensor.
    semidefinite
        Whether the function is a positive definite one.
    name
        Printable.
    symmetric
        Whether the function is symmetric in its two arguments. ``None``: presumed, and every entry that is
        evaluated is compared with its mirror image, which doubles the evaluations; ``True``: taken on trust.
    rounding
        How far a value of the function may be off, as of :class:`~rmtaudit.matrices.sources.Known`. ``None``:
        not known, since a function may compute in any precision.
    """

    kind = "kernel"

    def __init__(
        self,
        points: torch.Tensor,
        function: Function,
        name: str = "<kernel>",
        *,
        semidefinite: bool = False,
        symmetric: bool | None = None,
        rounding: float | None = None,
    ) -> None:
        self.points = as_points(points, name)
        self._function, self._rounding = function, rounding
        self._take(name, semidefinite)
        presumed = Symmetry(True, Ground.CLAIMED, "the function is presumed to be symmetric")
        self.take_symmetry(declared_symmetry(symmetric, self.square, name) or presumed)

    def _take(self, name: str, semidefinite: bool) -> None:
        count = int(self.points.shape[0])
        self.name, self.shape, self.semidefinite = name, (count, count), semidefinite
        self.take_symmetry(BY_CONSTRUCTION)
        self.reach = EVERYTHING

    def known(self) -> Known:
        """Return what a product and an entry cost, and the declared rounding."""
        return Known(product_flops=self._product_flops, entry_flops=_ENTRY_FLOPS, rounding=self._rounding)

    @property
    def _product_flops(self) -> float:
        return float(self.shape[0]) * self.shape[1] * (2.0 * self.points.shape[1] + 20)

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
        """Evaluate a block (see :meth:`MatrixSource.block_into`)."""
        self._evaluate(self.points[rows.start : rows.stop], self.points[cols.start : cols.stop], out)
        check_finite(self.name, out)

    def principal(self, indices: torch.Tensor) -> torch.Tensor:
        """Evaluate a principal submatrix."""
        import torch

        chosen = self.points[indices]
        out = torch.empty((len(indices), len(indices)), dtype=torch.float64)
        self._evaluate(chosen, chosen, out)
        check_finite(self.name, out)
        return out

    def _evaluate(self, first: torch.Tensor, second: torch.Tensor, out: torch.Tensor) -> None:
        out.copy_(self._function(first, second))


class MaternMatrix(KernelMatrix):
    """A Matérn covariance matrix; ``nu=inf`` is the Gaussian kernel.

    Parameters
    ----------
    points
        As for :class:`KernelMatrix`.
    nu, length
        Smoothness (0.5, 1.5, 2.5, inf) and length scale, see :func:`rmtaudit.kernels.covariance.matern_into`.
    name
        Printable.

    Raises
    ------
    UsageError
        RA-MS-020: another ``nu``, or a length scale that is not a positive number.
    """

    def __init__(self, points: torch.Tensor, *, nu: float, length: float, name: str = "<points>") -> None:
        if nu not in (0.5, 1.5, 2.5, math.inf):
            raise UsageError("RA-MS-020", f"The smoothness must be 0.5, 1.5, 2.5 or inf, not {nu}.")
        if not (math.isfinite(length) and length > 0):
            raise UsageError("RA-MS-020", f"A length scale must be a positive number, not {length}.")
        self.nu, self.length = nu, length
        self.points = as_points(points, name)
        words = "Gaussian kernel" if nu == math.inf else f"Matérn {nu:g} kernel"
        self._take(f"{words} (length {length:g}) of {name}", semidefinite=True)

    def known(self) -> Known:
        """Return what products and entries cost, and how far entries may be off.

        An entry takes a few roundings, and has those of its points: scaled points are off by ``u |x|``, their
        distances, in length scales, by a few times that, and no kernel is steeper than 1 in those units.
        """
        dimensions = self.points.shape[1]
        scale = 1.0 if self.nu == math.inf else math.sqrt(2 * self.nu)
        reach = scale * float(self.points.abs().max()) / self.length
        return Known(
            product_flops=self._product_flops,
            entry_flops=_ENTRY_FLOPS,
            rounding=8.0 + dimensions + 4 * math.sqrt(dimensions) * reach,
        )

    def _evaluate(self, first: torch.Tensor, second: torch.Tensor, out: torch.Tensor) -> None:
        from rmtaudit.kernels.covariance import matern_into

        matern_into(first, second, out, nu=self.nu, length=self.length)


def as_points(points: torch.Tensor, name: str) -> torch.Tensor:
    """Return points as float64 of shape ``(n, d)``. Raises ``UsageError`` or ``InputError``."""
    import torch

    points = torch.as_tensor(points)
    if points.dim() == 1:
        points = points[:, None]
    check_shape(tuple(points.shape), name)
    if points.is_complex():
        raise UsageError("RA-MS-003", f"{name} holds complex numbers.")
    points = points.detach().to("cpu", torch.float64).contiguous()
    if not bool(points.isfinite().all()):
        bad = int((~points.isfinite()).any(1).sum())
        raise InputError("RA-MS-005", f"{bad:,} of the {len(points):,} points of {name} are not finite.")
    return points
