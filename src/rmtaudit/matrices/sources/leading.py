"""The leading principal submatrix of a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmtaudit.errors import UsageError
from rmtaudit.matrices.sources.base import MatrixSource, Reach
from rmtaudit.matrices.sources.known import Known
from rmtaudit.matrices.sources.wrapper import Wrapper

if TYPE_CHECKING:
    import torch


class Leading(Wrapper):
    """``A[:rows, :rows]``.

    Parameters
    ----------
    base
        A square source that offers blocks or principal submatrices; it is closed with this one.
    rows
        Order of the submatrix.

    Raises
    ------
    UsageError
        RA-MS-004: not square, or smaller than that.
    """

    def __init__(self, base: MatrixSource, rows: int) -> None:
        if not base.square or not 0 < rows <= base.shape[0]:
            raise UsageError(
                "RA-MS-004",
                f"{base.name} is {base.shape[0]} x {base.shape[1]}: it has no leading minor of order {rows}.",
            )
        super().__init__(base)
        self.name, self.shape = f"leading {rows} of {base.name}", (rows, rows)
        self.reach = base.reach if Reach.BLOCK in base.reach else base.reach & {Reach.PRINCIPAL}

    def known(self) -> Known:
        """Return what holds for every principal submatrix.

        The bounds of the spectrum do (Cauchy's interlacing theorem); a rank or a null space does not.
        """
        base = self.base.known()
        return Known(
            smallest=base.smallest,
            largest=base.largest,
            smallest_from=base.smallest_from,
            rounding=base.rounding,
            entry_flops=base.entry_flops,
        )

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
        """Write a block (see :meth:`MatrixSource.block_into`)."""
        self.base.block_into(rows, cols, out)

    def principal(self, indices: torch.Tensor) -> torch.Tensor:
        """Return a principal submatrix."""
        return self.base.principal(indices)

    def fingerprint(self) -> str:
        """Return the fingerprint of the base with the order."""
        return f"{self.base.fingerprint()}[:{self.shape[0]}]"
