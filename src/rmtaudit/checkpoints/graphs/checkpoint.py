"""An opened graph: constants, read when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.graphs.expressions import Expression, Leaf, Pieces, evaluated
from rmtaudit.checkpoints.graphs.places import NARROW, Raw, read_constant
from rmtaudit.checkpoints.single import FileCheckpoint
from rmtaudit.errors import InputError
from rmtaudit.matrices.tensors import ITEMSIZE

if TYPE_CHECKING:
    import torch

    from rmtaudit.matrices.tensors import TensorSpec


class GraphCheckpoint(FileCheckpoint):
    """A graph in one file, with the files that hold its weights where it names some.

    Parameters
    ----------
    source, format, tensors, warnings
        As for :class:`FileCheckpoint`; the place of a tensor is the expression of its values.
    others
        Further open files; this object closes them.
    """

    def __init__(
        self,
        source: FileSource,
        format: str,
        tensors: list[tuple[TensorSpec, Any]],
        warnings: list[str],
        others: Sequence[FileSource] = (),
    ) -> None:
        super().__init__(source, format, tensors, warnings)
        self._others = tuple(others)

    def _values(self, spec: TensorSpec, place: Any) -> torch.Tensor:
        del spec
        if isinstance(place, Pieces):
            narrowed = _band_of_raw(place)
            if narrowed is not None:
                return read_constant(narrowed)
        return evaluated(place, read_constant).contiguous()

    def _place_of_band(self, spec: TensorSpec, place: Any, start: int, stop: int) -> Any:
        del spec
        return Pieces(place, 0, ((start, stop),))

    def check_unchanged(self) -> None:
        """Raise ``ChangedError`` if one of the files changed since it was opened."""
        super().check_unchanged()
        for other in self._others:
            other.check_unchanged()

    def park(self) -> None:
        """Give back the file descriptors until the next read."""
        super().park()
        for other in self._others:
            other.park()

    def close(self) -> None:
        """Close every file; raises ``ChangedError`` if one changed since it was opened."""
        first: InputError | None = None
        try:
            super().close()
        except InputError as error:
            first = error
        for other in self._others:
            try:
                warning = other.close()
            except InputError as error:
                first = first or error
            else:
                self.warnings = (*self.warnings, *((warning,) if warning else ()))
        if first is not None:
            raise first


def _band_of_raw(pieces: Pieces) -> Any:
    """Return the constant that is one range of the first side of a stored one; ``None`` for anything else."""
    inner: Expression = pieces.of
    if not isinstance(inner, Leaf) or pieces.side != 0 or len(pieces.ranges) != 1:
        return None
    constant = inner.constant
    if not isinstance(constant.place, Raw) or constant.dtype in NARROW:
        return None
    start, stop = pieces.ranges[0]
    row = ITEMSIZE[constant.dtype] * (constant.elements // max(1, constant.shape[0]))
    place = Raw(constant.place.source, constant.place.offset + start * row, (stop - start) * row)
    return replace(constant, shape=(stop - start, *constant.shape[1:]), place=place)
