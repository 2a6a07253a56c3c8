"""The contract between a file format and the rest of rmtaudit.

A format is one module with one :class:`Reader`, registered in the entry-point group ``rmtaudit.readers``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from rmtaudit.errors import InputError

if TYPE_CHECKING:
    import torch

    from rmtaudit.matrices.tensors import TensorSpec

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Checkpoint(ABC):
    """An opened checkpoint: its tensors are known, their values are read one at a time.

    Attributes
    ----------
    path
        The file or folder that was opened; ``"<state dict>"`` for one in memory.
    format
        Name of the format: ``"safetensors"``, ``"torch-zip"`` …
    tensors
        Every tensor in the container, in stored order, names unique, wrappers (``state_dict.`` …) removed.
    warnings
        What is odd but not fatal, one sentence each, printable.
    config
        The ``config.json`` beside the weights, if there is one; ``{}`` otherwise. Facts, never code.
    """

    path: Path | str
    format: str
    tensors: tuple[TensorSpec, ...]
    warnings: tuple[str, ...] = ()
    config: Mapping[str, Any] = _NOTHING

    @abstractmethod
    def read(self, name: str) -> torch.Tensor:
        """Return the values of one tensor: CPU, contiguous, stored dtype, its own memory.

        Threads may call it at the same time. Raises ``KeyError`` for an unknown name and an ``InputError``
        where the bytes cannot be had (short read, changed file).
        """

    def read_band(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return ``read(name)[start:stop]``; formats that can read less than the whole tensor override it."""
        return self.read(name)[start:stop]

    def check_unchanged(self) -> None:
        """Raise ``ChangedError`` if a file changed since it was opened."""
        return

    def close(self) -> None:
        """Give back files; idempotent. Raises ``ChangedError`` if a file changed since it was opened."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
            return
        with suppress(InputError):  # the exception on its way out matters more than a file that changed
            self.close()


class Reader(ABC):
    """One file format."""

    name: str
    extensions: tuple[str, ...]
    """Usual endings, for error messages and for finding files in a folder; never the ground to open one."""

    @abstractmethod
    def recognises(self, head: bytes) -> bool:
        """Whether a file that begins with ``head`` (up to 4096 bytes) is of this format."""

    @abstractmethod
    def open(self, path: Path) -> Checkpoint:
        """Open a file of this format.

        The header is checked against the file before memory is taken: no torch import, and no more memory
        than a small multiple of the header, before the file is accepted. Raises an ``InputError``.
        """
