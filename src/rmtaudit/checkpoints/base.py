"""The contract between a file format and the rest of rmtaudit.

A format is one module with one :class:`Reader`, registered in the entry-point group ``rmtaudit.readers``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from rmtaudit.errors import InputError

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.levels import Levels
    from rmtaudit.matrices.tensors import TensorSpec

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class StatedFile:
    """What a server states of a file.

    Attributes
    ----------
    name
        Its path within the model.
    size
        In bytes.
    sha256
        The digest of its bytes, which nothing has verified; ``None`` where it is not stated.
    """

    name: str
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class UnreadFile:
    """A file with weights of the model that were not read, and why; the name is printable.

    ``nbytes`` is 0 where the file that should be there is not.
    """

    name: str
    nbytes: int
    problem: str


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
    adapter_config
        The ``adapter_config.json`` beside the weights, likewise.
    metadata
        What the header of the file notes beside its tensors; ``{}`` where it notes nothing.
    unread
        Files that are part of the model and whose tensors are not known.
    streamed
        The files that are read over the network, as the server states them; none where the checkpoint is on
        this machine.
    """

    path: Path | str
    format: str
    tensors: tuple[TensorSpec, ...]
    warnings: tuple[str, ...] = ()
    config: Mapping[str, Any] = _NOTHING
    adapter_config: Mapping[str, Any] = _NOTHING
    metadata: Mapping[str, Any] = _NOTHING
    unread: tuple[UnreadFile, ...] = ()
    streamed: tuple[StatedFile, ...] = ()

    @abstractmethod
    def read(self, name: str) -> torch.Tensor:
        """Return the values of one tensor: CPU, contiguous, stored dtype, its own memory.

        Threads may call it at the same time. Raises ``KeyError`` for an unknown name and an ``InputError``
        where the bytes cannot be read (short read, changed file). A torch before 2.7 has no
        ``float8_e8m0fnu``: there, such a tensor comes as its codes, ``uint8``.
        """

    def read_band(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return ``read(name)[start:stop]``; formats that can read less than the whole tensor override it."""
        return self.read(name)[start:stop]

    def levels(self, name: str) -> Levels | None:
        """Return the values that each weight of a quantised tensor could have been stored as.

        ``None`` for tensors that are stored as numbers, and for schemes whose levels are not known.
        """
        del name
        return None

    def position(self, name: str) -> tuple[str, int] | None:
        """Return the printable name of the file and the position of the first byte of a tensor in it.

        ``None`` where the bytes in the file are not those of the values, in their order: compressed, decoded,
        strided, of another byte order; and for formats that do not say.
        """
        del name
        return None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a reader sees of a path before it says whether it knows it.

    Attributes
    ----------
    head
        The first bytes of a file, at most 4096; empty for a folder.
    names
        The names of the entries of a zip archive, or of the files of a folder, sorted; empty for every other
        file, and for an archive whose directory cannot be read.
    folder
        Whether it is a folder.
    """

    head: bytes = b""
    names: tuple[str, ...] = ()
    folder: bool = False


class Reader(ABC):
    """One file format.

    Attributes
    ----------
    name
        Of the format, as reports print it.
    extensions
        Endings by which files of this format are found in a folder, with their dots. They are never the
        ground to open a file: its contents are.
    other_extensions
        Endings that files of this format have too, while most files with them are something else: they are
        not looked for in a folder.
    place
        Of several formats in one folder, the one with the lowest place is opened.
    companion
        Ending of the second file of a checkpoint, beside the first under the same stem; empty where there is
        none. In a folder, first files without a second are no checkpoints, and second ones none alone.
    strict
        Whether a file with one of the extensions that turns out to be of another format is refused, since
        its name promises something about its safety.
    in_archives
        Whether :meth:`open` takes a path that leads on into a zip archive (``models.zip/net.pt``), as
        :func:`rmtaudit.checkpoints.members.open_source` does.
    by_position
        Of a plugin: whether :meth:`open` reads the path through
        :class:`~rmtaudit.checkpoints.files.FileSource` alone, so that it may be one that is read over the
        network. Our own readers all do.
    """

    name: str
    extensions: tuple[str, ...]
    other_extensions: tuple[str, ...] = ()
    place: int = 100
    companion: str = ""
    strict: bool = False
    in_archives: bool = False
    by_position: bool = False

    @abstractmethod
    def recognises(self, contents: Contents) -> bool:
        """Whether a file or a folder with these contents is of this format, beyond doubt.

        A reader that opens single files answers ``False`` for a folder: rmtaudit finds them there by
        :attr:`extensions`. One that answers ``True`` for a folder opens it as a whole.
        """

    def may_know(self, contents: Contents) -> bool:
        """Whether this reader is to be tried, or to explain what is wrong, where none knows the file."""
        del contents
        return False

    @abstractmethod
    def open(self, path: Path) -> Checkpoint:
        """Open a file (or a folder) of this format.

        The header is checked against the file before memory is taken: no torch import, and no more memory
        than a small multiple of the header, before the file is accepted. Raises an ``InputError``.
        """
