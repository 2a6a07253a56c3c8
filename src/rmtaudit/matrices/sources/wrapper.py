"""A matrix that is made of one other without being formed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rmtaudit.matrices.sources.base import MatrixSource

if TYPE_CHECKING:
    from rmtaudit.matrices.sources.symmetry import Symmetry


class Wrapper(MatrixSource):
    """A matrix made of one other, of the same kind, storage and symmetry.

    Parameters
    ----------
    base
        The other source; it is closed with this one.
    """

    def __init__(self, base: MatrixSource) -> None:
        self.base = base
        self.shape, self.dtype, self.kind = base.shape, base.dtype, base.kind
        self.stored_bytes, self.semidefinite = base.stored_bytes, base.semidefinite
        self.reach, self.tile_side, self.by_columns = base.reach, base.tile_side, base.by_columns
        super().take_symmetry(base.judgement)

    def take_symmetry(self, judgement: Symmetry) -> None:
        """Treat the matrix, and the one that it is made of, as a judgement says."""
        super().take_symmetry(judgement)
        self.base.take_symmetry(judgement)

    def details(self) -> Mapping[str, Any]:
        """Return the details of the base."""
        return self.base.details()

    def announce(self, rows: range, cols: range) -> None:
        """Announce it to the base."""
        self.base.announce(rows, cols)

    def close(self) -> None:
        """Close the base."""
        self.base.close()
