"""What every checkpoint of one file shares: its source, its lookup by name, its way to close."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.errors import InputError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.files import FileSource
    from rmtaudit.matrices.tensors import TensorSpec


class FileCheckpoint(Checkpoint):
    """A checkpoint in one file.

    Parameters
    ----------
    source
        The open file; this object closes it.
    format
        Name of the format.
    tensors
        Every tensor, with where its values are (whatever the format needs to find them), in stored order.
    warnings
        What is odd but not fatal.
    """

    def __init__(
        self,
        source: FileSource,
        format: str,
        tensors: list[tuple[TensorSpec, Any]],
        warnings: list[str],
    ) -> None:
        self.path = source.path
        self.format = format
        self.tensors = tuple(spec for spec, _ in tensors)
        self.warnings = tuple(warnings)
        self._source = source
        self._places = {known[0].name: known for known in tensors}

    def read(self, name: str) -> torch.Tensor:
        """Return the values of one tensor (see :meth:`Checkpoint.read`)."""
        return self._values(*self._readable(name))

    def read_band(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return a range of the first side of one tensor, reading no more than that."""
        spec, place = self._readable(name)
        band = replace(spec, shape=(stop - start, *spec.shape[1:]))
        return self._values(band, self._place_of_band(spec, place, start, stop))

    def _readable(self, name: str) -> tuple[TensorSpec, Any]:
        spec, place = self._places[name]
        if spec.unreadable is not None:
            raise InputError(
                "RA-IN-009",
                f"Tensor '{display_name(name)}' cannot be read: {spec.unreadable}.",
                where=self._source.where,
            )
        return spec, place

    @abstractmethod
    def _values(self, spec: TensorSpec, place: Any) -> torch.Tensor:
        """Return the values of a readable tensor."""

    @abstractmethod
    def _place_of_band(self, spec: TensorSpec, place: Any, start: int, stop: int) -> Any:
        """Return the place of a range of the first side of a tensor."""

    def check_unchanged(self) -> None:
        """Raise ``ChangedError`` if the file changed since it was opened."""
        self._source.check_unchanged()

    def park(self) -> None:
        """Give back the file descriptor until the next read (for folders of very many shards)."""
        self._source.park()

    def close(self) -> None:
        """Close the file; raises ``ChangedError`` if it changed since it was opened."""
        warning = self._source.close()
        if warning:
            self.warnings = (*self.warnings, warning)
